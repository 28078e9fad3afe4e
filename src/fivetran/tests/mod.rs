//! Values and rows against an encoder and decoders that share no code with them: prost for the messages, serde_json, jiff
//! and base64 for the JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp as Instant;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::row::{BoundTable, Row, RowProblem};
use super::state::TableState;
use super::table::{Column, ID, Kind, Table};
use super::update::{self, Change, Head, Operation, Unusable};
use crate::json::hints::Hints;
use crate::json::repair::What;
use crate::json::watch::{Found, Watchlist};
use crate::upstream::line::{DeletionMark, bare_payload};
use crate::upstream::{Mode, Resource, Selected};
use messages::{Inner, Operation as Sent, Record, Records, Timestamp, UpdateResponse, ValueType};

mod messages;

/// A table with these columns, of which those with `*` are its key.
fn table(columns: &[&str]) -> Table {
    let column = |name: &&str| Column {
        name: name.trim_end_matches('*').to_owned(),
        kind: Kind::Unspecified,
        key: name.ends_with('*'),
        size: String::new(),
    };
    Table { schema: None, table: "t".to_owned(), columns: columns.iter().map(column).collect() }
}

fn names(names: &[&str]) -> Watchlist {
    let mut watched = Watchlist::default();
    for name in names {
        watched.add(name);
    }
    watched
}

fn bound(table: &Table, watched: &Watchlist) -> BoundTable {
    let stream = table.stream().unwrap();
    let resource =
        Resource { id: stream.id.clone(), path: Vec::new(), mode: Mode::Incremental, method: None, config: Json::Null };
    let selected = Selected { stream: &stream, resource: &resource, state: None, fresh: true };
    let mut bound = BoundTable::new(&selected, table, TableState::default());
    bound.watch(watched);
    bound
}

fn record(change: i32, data: &[(&str, Inner)]) -> Record {
    let value = |(name, inner): &(&str, Inner)| ((*name).to_owned(), ValueType { inner: Some(inner.clone()) });
    Record { schema_name: None, table_name: "t".to_owned(), kind: change, data: data.iter().map(value).collect() }
}

/// The row of a record.
fn written(table: &mut BoundTable, record: &Record, watched: &Watchlist) -> Result<Row, RowProblem> {
    let message = record.encode_to_vec();
    let change = update::head(&message, 0..message.len()).unwrap().change;
    let mut row = Row::default();
    row.out.watch(watched);
    row.write(table, &message, 0..message.len(), change, watched)?;
    Ok(row)
}

fn text_of(row: &Row) -> &str {
    std::str::from_utf8(&row.out.json).unwrap()
}

/// The JSON of one value.
fn json_of(inner: Inner) -> (String, Vec<What>) {
    let row = written(&mut bound(&table(&["a*"]), &names(&[])), &record(0, &[("a", inner)]), &names(&[])).unwrap();
    let text = text_of(&row).strip_prefix(r#"{"a":"#).and_then(|it| it.strip_suffix('}')).unwrap();
    (text.to_owned(), row.out.repairs.iter().map(|it| it.what).collect())
}

fn at(seconds: i64, nanos: i32) -> Timestamp {
    Timestamp { seconds, nanos }
}

#[test]
fn values_have_the_form_that_is_documented() {
    for (value, want) in [
        (Inner::Null(true), "null"),
        (Inner::Bool(false), "false"),
        (Inner::Short(-32_768), "-32768"),
        (Inner::Int(i32::MIN), "-2147483648"),
        (Inner::Long(i64::MAX), "9223372036854775807"),
        (Inner::Float(0.1), "0.1"),
        (Inner::Float(1.180_591_6e21), "1.1805916e21"),
        (Inner::Double(0.1), "0.1"),
        (Inner::Double(-0.0), "-0.0"),
        (Inner::Double(f64::MIN_POSITIVE), "2.2250738585072014e-308"),
        (Inner::Decimal("12345678901234567890.120".to_owned()), r#""12345678901234567890.120""#),
        (Inner::Date(at(1_704_067_200, 0)), r#""2024-01-01""#),
        (Inner::Date(at(-1, 0)), r#""1969-12-31""#),
        (Inner::NaiveDatetime(at(1_704_112_496, 123_456_789)), r#""2024-01-01T12:34:56.123456789""#),
        (Inner::UtcDatetime(at(-1, 999_000_000)), r#""1969-12-31T23:59:59.999Z""#),
        (Inner::UtcDatetime(at(-62_135_596_800, 0)), r#""0001-01-01T00:00:00Z""#),
        (Inner::UtcDatetime(at(253_402_300_800, 0)), r#""+10000-01-01T00:00:00Z""#),
        (Inner::UtcDatetime(at(-62_198_755_200, 0)), r#""-0001-01-01T00:00:00Z""#),
        (Inner::UtcDatetime(at(0, -1)), r#""1969-12-31T23:59:59.999999999Z""#),
        (Inner::Time(at(45_296, 500_000_000)), r#""12:34:56.5""#),
        (Inner::Binary(vec![0, 0xff]), r#""AP8=""#),
        (Inner::Text("é\0\"\n".to_owned()), r#""é\u0000\"\n""#),
        (Inner::Xml("<a/>".to_owned()), r#""<a/>""#),
        (Inner::Json(r#" {"b": 1.0, "a": [null]} "#.to_owned()), r#"{"b": 1.0, "a": [null]}"#),
        (Inner::Json("{\n\"b\" : 1.0}".to_owned()), r#"{"b":1.0}"#),
        (Inner::Json("12345678901234567890.10".to_owned()), "12345678901234567890.10"),
        (Inner::Json("{'a': 1}".to_owned()), r#""{'a': 1}""#),
        (Inner::Json(String::new()), r#""""#),
        (Inner::Json("{} {}".to_owned()), r#""{} {}""#),
    ] {
        assert_eq!(json_of(value.clone()), (want.to_owned(), Vec::new()), "{value:?}");
    }
    for (value, want) in [
        (Inner::Float(f32::NAN), "null"),
        (Inner::Double(f64::NEG_INFINITY), "null"),
        (Inner::Json(r#"{"a": NaN}"#.to_owned()), r#"{"a":null}"#),
    ] {
        assert_eq!(json_of(value.clone()), (want.to_owned(), vec![What::NotANumber]), "{value:?}");
    }
}

/// Checks a value against the JSON that it became, read by others.
fn check(inner: &Inner, json: &Json) -> Result<(), TestCaseError> {
    let text = || json.as_str().unwrap_or_default();
    let instant = |it: &Timestamp| Instant::new(it.seconds, it.nanos).unwrap();
    let utc = |it: DateTime| it.to_zoned(TimeZone::UTC).unwrap().timestamp();
    match inner {
        Inner::Null(_) => prop_assert!(json.is_null()),
        Inner::Bool(it) => prop_assert_eq!(json, it),
        Inner::Short(it) | Inner::Int(it) => prop_assert_eq!(json, it),
        Inner::Long(it) => prop_assert_eq!(json, it),
        Inner::Float(it) if it.is_finite() => {
            prop_assert_eq!(json.to_string().parse::<f32>().unwrap().to_bits(), it.to_bits());
        }
        Inner::Double(it) if it.is_finite() => {
            prop_assert_eq!(json.to_string().parse::<f64>().unwrap().to_bits(), it.to_bits());
        }
        Inner::Float(_) | Inner::Double(_) => prop_assert!(json.is_null()),
        Inner::Date(it) => {
            let date: Date = text().parse().unwrap();
            prop_assert_eq!(date, instant(it).to_zoned(TimeZone::UTC).date());
        }
        Inner::NaiveDatetime(it) => prop_assert_eq!(utc(text().parse().unwrap()), instant(it)),
        Inner::UtcDatetime(it) => prop_assert_eq!(text().parse::<Instant>().unwrap(), instant(it)),
        Inner::Time(it) => {
            let time: jiff::civil::Time = text().parse().unwrap();
            prop_assert_eq!(time, instant(it).to_zoned(TimeZone::UTC).time());
        }
        Inner::Decimal(it) | Inner::Text(it) | Inner::Xml(it) => prop_assert_eq!(text(), it),
        Inner::Binary(it) => prop_assert_eq!(&BASE64.decode(text()).unwrap(), it),
        Inner::Json(it) => match serde_json::from_str::<Json>(it) {
            Ok(value) => prop_assert_eq!(json, &value),
            Err(_) => prop_assert_eq!(text(), it),
        },
    }
    Ok(())
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    // What protobuf allows: the years 1 to 9999.
    let seconds = prop_oneof![-62_135_596_800..253_402_300_799_i64, -100_000..100_000_i64];
    (seconds, prop_oneof![Just(0), 0..1_000_000_000, (0..1000).prop_map(|it| it * 1_000_000)])
        .prop_map(|(seconds, nanos)| Timestamp { seconds, nanos })
}

/// Numbers that a double can hold, so that no reader has to round them.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        ".*".prop_map(Json::from)
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(".*", inner, 0..4).prop_map(|it| Json::Object(it.into_iter().collect())),
        ]
    })
    .prop_flat_map(|it| {
        let pretty = serde_json::to_string_pretty(&it).unwrap();
        prop_oneof![Just(it.to_string()), Just(pretty), Just(it.to_string() + "}")]
    })
}

fn inner() -> impl Strategy<Value = Inner> {
    prop_oneof![
        Just(Inner::Null(true)),
        any::<bool>().prop_map(Inner::Bool),
        any::<i32>().prop_map(Inner::Short),
        any::<i32>().prop_map(Inner::Int),
        prop_oneof![any::<i64>(), -2..2_i64].prop_map(Inner::Long),
        any::<u32>().prop_map(|it| Inner::Float(f32::from_bits(it))),
        any::<u64>().prop_map(|it| Inner::Double(f64::from_bits(it))),
        (-1000..1000_i64).prop_map(|it| Inner::Double(it as f64 / 8.0)),
        timestamp().prop_map(Inner::Date),
        timestamp().prop_map(Inner::NaiveDatetime),
        timestamp().prop_map(Inner::UtcDatetime),
        timestamp().prop_map(Inner::Time),
        "-?[0-9]{1,40}(\\.[0-9]{1,40})?".prop_map(Inner::Decimal),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Inner::Binary),
        "(.|\u{0}|\n)*".prop_map(Inner::Text),
        json().prop_map(Inner::Json),
        ".*".prop_map(Inner::Xml),
    ]
}

proptest! {
    /// The columns that a record has are exact, and those that it does not have are null in an UPSERT and absent otherwise. Also
    /// for the records that follow, whatever columns they have.
    #[test]
    fn a_row_has_the_values_of_its_record(
        declared in prop::collection::btree_set("[a-d]", 0..4),
        records in prop::collection::vec((0..3_i32, prop::collection::btree_map("[a-f\u{e9}\"]|_meta", inner(), 0..7)), 1..6),
    ) {
        let declared: Vec<&str> = declared.iter().map(String::as_str).collect();
        let watched = names(&["a", "_meta", "b"]);
        let mut table = bound(&Table { columns: table(&declared).columns, ..table(&[]) }, &watched);
        let mut known: std::collections::BTreeSet<String> = declared.iter().map(|it| (*it).to_owned()).collect();
        for (change, data) in records {
            let given: Vec<(&str, Inner)> = data.iter().map(|(name, it)| (name.as_str(), it.clone())).collect();
            let row = written(&mut table, &record(change, &given), &watched).unwrap();
            known.extend(data.keys().cloned());
            prop_assert!(!row.out.json.contains(&b'\n'));
            let found: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&row.out.json).unwrap();
            let names: Vec<&String> = if change == 0 { known.iter().collect() } else { data.keys().collect() };
            prop_assert!(found.keys().eq(names));
            for (name, raw) in &found {
                let json: Json = serde_json::from_str(raw.get()).unwrap();
                match data.get(name) {
                    Some(inner) => check(inner, &json)?,
                    None => prop_assert!(json.is_null()),
                }
            }
            prop_assert_eq!(row.has_meta, found.contains_key("_meta"));
            for name in ["a", "_meta", "b"] {
                let id = watched.find(name.as_bytes()).unwrap();
                let text = row.out.found.at_top(id).map(|it| std::str::from_utf8(&row.out.json[it]).unwrap());
                prop_assert_eq!(text, found.get(name).map(|it| it.get()));
            }
            // All others are where a scan of the row finds them.
            let mut hints = Hints::default();
            hints.watch(watched.clone());
            let never = DeletionMark { member: "", is_set: |_| false };
            bare_payload(&row.out.json, &mut hints, &never).unwrap();
            let places = |it: &Found| it.all().unwrap().iter().map(|it| (it.name, it.at_top, it.value())).collect::<Vec<_>>();
            prop_assert_eq!(places(&row.out.found), places(&hints.found));
        }
    }

    /// No message makes a reader panic, and records are read from a list as they are alone.
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200), tables in prop::collection::vec("[a-z]{0,3}", 0..5)) {
        if let Ok(Operation::Record(record)) = update::operation(&bytes) {
            let _ = update::head(&bytes, record.clone());
            let mut row = Row::default();
            let _ = row.write(&mut bound(&table(&["a*"]), &names(&[])), &bytes, record, Change::Upsert, &names(&[]));
        }
        let records = tables.iter().map(|it| Record { table_name: it.clone(), ..Record::default() }).collect();
        let message = UpdateResponse { operation: Some(Sent::Records(Records { records })) }.encode_to_vec();
        let Ok(Operation::Records(mut rest)) = update::operation(&message) else { panic!("no records") };
        for name in &tables {
            let (found, after) = update::first_record(&message, rest).unwrap();
            let head = update::head(&message, found.unwrap()).unwrap();
            prop_assert_eq!(&message[head.table], name.as_bytes());
            rest = after;
        }
        prop_assert!(rest.is_empty());
    }
}

#[test]
fn rows_without_a_key_are_told_apart_by_a_hash() {
    let watched = names(&[ID]);
    let id = |columns: &[&str], change: i32, data: &[(&str, Inner)]| {
        let row = written(&mut bound(&table(columns), &watched), &record(change, data), &watched).unwrap();
        let found: Json = serde_json::from_slice(&row.out.json).unwrap();
        let at = row.out.found.at_top(watched.find(ID.as_bytes()).unwrap()).unwrap();
        assert_eq!(std::str::from_utf8(&row.out.json[at]).unwrap(), found[ID].to_string());
        found[ID].as_str().unwrap().to_owned()
    };
    let text = |it: &str| Inner::Text(it.to_owned());
    // sha256sum of {"a":1,"b":"x"}
    let of_row = "ecf9e98ec0641e23113ff3ce8bdc78d0";
    let row = [("b", text("x")), ("a", Inner::Long(1))];
    assert_eq!(id(&["b", "a"], 0, &row), of_row);
    assert_eq!(id(&["c", "a"], 0, &row), of_row);
    assert_eq!(id(&["a"], 2, &row), of_row);
    assert_ne!(id(&["a"], 0, &[("a", Inner::Long(1))]), of_row);

    // A key that Flow can't use: the hash is of the key alone.
    let keyed = || {
        let mut keyed = table(&["k*", "a"]);
        keyed.columns[0].kind = Kind::Double;
        keyed
    };
    assert_eq!(keyed().key(), [[ID]]);
    let of = |change: i32, data: &[(&str, Inner)]| {
        let row = written(&mut bound(&keyed(), &watched), &record(change, data), &watched).unwrap();
        serde_json::from_slice::<Json>(&row.out.json).unwrap()[ID].clone()
    };
    let key = ("k", Inner::Double(1.5));
    assert_eq!(of(0, &[key.clone(), ("a", Inner::Long(1))]), of(1, &[key.clone(), ("a", Inner::Long(2))]));
    assert_eq!(of(2, std::slice::from_ref(&key)), of(0, &[key]));
    assert_eq!(table(&["a*"]).key(), [["a"]]);
}

#[test]
fn a_change_of_a_row_needs_a_key() {
    let watched = names(&[ID]);
    let data = [("a", Inner::Long(1))];
    let failure = written(&mut bound(&table(&["a"]), &watched), &record(1, &data), &watched).err().unwrap();
    assert!(failure.to_string().contains("no primary key"), "{failure}");
    // Another key of the user's.
    let row = written(&mut bound(&table(&["a"]), &names(&[])), &record(1, &data), &names(&[])).unwrap();
    assert_eq!(text_of(&row), r#"{"a":1}"#);
    let mut keyed = table(&["k*", "l*", "a"]);
    keyed.columns[0].kind = Kind::Double;
    let data = [("k", Inner::Double(1.5)), ("a", Inner::Long(1))];
    let failure = written(&mut bound(&keyed, &watched), &record(2, &data), &watched).err().unwrap();
    assert!(failure.to_string().contains(r#"column "l" of its key"#), "{failure}");
}

#[test]
fn what_is_not_known_fails() {
    let field = |number: u32, content: &[u8]| {
        let mut bytes = Vec::new();
        prost::encoding::bytes::encode(number, &content.to_vec(), &mut bytes);
        bytes
    };
    assert_eq!(update::operation(&field(9, b"")), Err(Unusable::Unknown { within: "response", field: 9 }));
    assert_eq!(update::operation(&field(7, b"")), Err(Unusable::Files));
    assert_eq!(update::operation(b""), Ok(Operation::Nothing));
    let head = Head { schema: 0..0, table: 4..5, change: Change::Truncate };
    assert_eq!(update::operation(&field(8, &field(2, b"t"))), Ok(Operation::Truncate(head)));
    let head = |bytes: &[u8]| update::head(bytes, 0..bytes.len());
    assert_eq!(head(&field(5, b"")), Err(Unusable::RowData));
    assert_eq!(head(&field(6, b"")), Err(Unusable::Unknown { within: "record", field: 6 }));
    assert_eq!(head(&record(9, &[]).encode_to_vec()), Err(Unusable::UnknownChange(9)));
    let entry = [field(1, b"a"), field(2, &field(17, b"x"))].concat();
    let message = field(4, &entry);
    let problem = Row::default().write(
        &mut bound(&table(&["a*"]), &names(&[])),
        &message,
        0..message.len(),
        Change::Upsert,
        &names(&[]),
    );
    assert!(problem.unwrap_err().to_string().contains("a value of kind 17"));
}
