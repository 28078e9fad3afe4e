//! Where dates are.

use serde_json::Map;

use super::*;

const RAW: &str = "2023-01-30 02:34:15";

/// Every `@` in the document is a date that is found, every `~` one that is not.
fn check(schema: &Value, document: &str) {
    check_with(schema, &[], document);
}

fn check_with(schema: &Value, key: &[String], document: &str) {
    let given = document.replace(['@', '~'], RAW);
    let want = document.replace('@', "2023-01-30T02:34:15Z").replace('~', RAW);
    let mut dates = Dates::of(schema, Typed::Key(key), &[]);
    let got = dates.as_mut().map_or(given.clone(), |it| normalized(it, &given));
    assert_eq!(got, want, "{schema}");
    if let Some(dates) = &mut dates {
        assert_eq!(walked(dates, &want).as_deref().unwrap_or(&want), want);
    }
}

fn stamp() -> Value {
    json!({"type": ["null", "string"], "format": "date-time"})
}

#[test]
fn a_schema_without_dates_costs_nothing() {
    let without = [
        json!({}),
        json!(true),
        json!(null),
        json!({"properties": {"a": {"type": "string"}, "b": {"format": "time"}, "c": {"airbyte_type": "time_with_timezone"}}}),
        json!({"definitions": {"unused": stamp()}}),
        json!({"type": "string", "format": "date-time"}),
    ];
    for schema in without {
        assert!(dates(&schema).is_none(), "{schema}");
    }
}

#[test]
fn dates_are_found_at_any_depth() {
    let schema = json!({"properties": {
        "a": stamp(),
        "list": {"type": "array", "items": stamp()},
        "lists": {"items": {"items": stamp()}},
        "rows": {"items": {"properties": {"a": stamp(), "b": {"type": "string"}}}},
        "pair": {"items": [{"type": "string"}, stamp()], "additionalItems": stamp()},
        "triple": {"prefixItems": [stamp(), {}], "items": false},
        "map": {"properties": {"known": {"type": "string"}}, "additionalProperties": stamp()},
        "maps": {"additionalProperties": {"properties": {"deep": stamp()}}},
        "by_pattern": {"patternProperties": {"_at$": stamp(), "_n$": {"type": "integer"}}, "additionalProperties": {"type": "string"}},
        "naive": {"type": "string", "airbyte_type": "timestamp_without_timezone"},
        "aware": {"type": "string", "airbyte_type": "timestamp_with_timezone"},
    }});
    check(&schema, r#"{"a":"@","b":"~","c":{"a":"~"}}"#);
    check(&schema, r#"{"list":["@",null,"@",["~"],{"a":"~"}, 5]}"#);
    check(&schema, r#"{"lists":[["@"],[],["@","@"],"~"]}"#);
    check(&schema, r#"{"rows":[{"a":"@","b":"~"},{"b":"a","a":"@"}],"a":{"a":"~"}}"#);
    check(&schema, r#"{"pair":["~","@","@","@"],"triple":["@","~","~"]}"#);
    check(&schema, r#"{"map":{"known":"~","x":"@","ü/\"":"@"}}"#);
    check(&schema, r#"{"maps":{"x":{"deep":"@"},"y":{"deep":"@","x":"~"}},"deep":"~"}"#);
    check(&schema, r#"{"by_pattern":{"x_at":"@","x_n":"~","x":"~"}}"#);
    check(&schema, r#"{"naive":"@","aware":"@"}"#);
}

#[test]
fn references_and_recursion_are_followed() {
    let schema = json!({
        "$ref": "#/definitions/node",
        "definitions": {
            "node": {"properties": {
                "at": {"$ref": "#/definitions/stamp"},
                "next": {"$ref": "#/definitions/node"},
                "children": {"items": {"$ref": "#/definitions/node"}},
            }},
            "stamp": {"allOf": [{"$ref": "#/$defs/inner"}]},
        },
        "$defs": {"inner": stamp()},
    });
    check(
        &schema,
        r##"{"at":"@","next":{"at":"@","children":[{"at":"@"},{"children":[{"next":{"at":"@"}}]}],"x":{"at":"~"}}}"##,
    );
    let circle = json!({"properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}});
    assert!(dates(&circle).is_none());
}

#[test]
fn alternatives_are_followed() {
    let schema = json!({
        "anyOf": [{"properties": {"a": stamp()}}, {"properties": {"b": stamp()}}],
        "properties": {
            "c": {"oneOf": [{"type": "null"}, stamp(), {"type": "object", "properties": {"d": stamp()}}]},
            "e": {"allOf": [{"type": "string"}, {"format": "date-time"}]},
            "f": {"anyOf": [{"type": "array", "items": {"oneOf": [{"type": "integer"}, stamp()]}}, stamp()]},
        },
        "if": {"required": ["g"]},
        "then": {"properties": {"g": stamp()}},
    });
    check(&schema, r#"{"a":"@","b":"@","c":"@","e":"@","g":"@"}"#);
    check(&schema, r#"{"c":{"d":"@","c":"~"},"f":["@",7,"@"]}"#);
    check(&schema, r#"{"f":"@"}"#);
}

/// What the source declares beside the date may be just that.
#[test]
fn an_alternative_keeps_its_own_values() {
    let one_of = |it: Value| at(&json!({"oneOf": [it, stamp()]}));
    let cases = [
        (one_of(json!({"type": "integer"})), "1675045055", "1675045055"),
        (one_of(json!({"type": "integer"})), r#""1675045055""#, r#""2023-01-30T02:17:35Z""#),
        (one_of(json!({"type": "string"})), r#""1675045055""#, r#""1675045055""#),
        (one_of(json!({"type": "string"})), "1675045055", r#""2023-01-30T02:17:35Z""#),
        (one_of(json!({"type": "integer", "format": "date-time"})), "1675045055", r#""2023-01-30T02:17:35Z""#),
        (at(&json!({"type": ["integer", "string"], "format": "date-time"})), "1675045055", r#""2023-01-30T02:17:35Z""#),
        (at(&json!({"type": "integer", "format": "date-time"})), "1675045055", r#""2023-01-30T02:17:35Z""#),
    ];
    for (schema, value, becomes) in cases {
        let mut dates = dates(&schema).unwrap();
        assert_eq!(
            normalized(&mut dates, &format!(r#"{{"at":{value}}}"#)),
            format!(r#"{{"at":{becomes}}}"#),
            "{schema}"
        );
    }
}

/// Where a collection's schema has the types that were declared.
#[test]
fn what_is_typed_keeps_its_type() {
    let key = ["/at".to_owned()];
    for (types, becomes) in [
        (json!("integer"), "1675045055"),
        (json!(["integer", "string"]), r#""2023-01-30T02:17:35Z""#),
        (json!("string"), r#""2023-01-30T02:17:35Z""#),
    ] {
        let schema = at(&json!({"type": types, "format": "date-time"}));
        for typed in [Typed::Key(&key), Typed::All] {
            let mut dates = Dates::of(&schema, typed, &[]).unwrap();
            assert_eq!(normalized(&mut dates, r#"{"at":1675045055}"#), format!(r#"{{"at":{becomes}}}"#));
        }
    }
    check_with(&json!({"properties": {"id": {}, "at": stamp()}}), &["/id".to_owned()], r#"{"id":"~","at":"@"}"#);
}

#[test]
fn what_is_cut_need_not_be_declared() {
    let schema = json!({"properties": {"properties": {"properties": {"a": stamp()}}}});
    let cut = ["/properties/hs~1at", "/properties/a", "nowhere", ""].map(str::to_owned);
    let mut dates = Dates::of(&schema, Typed::Key(&[]), &cut).unwrap();
    let given =
        r#"{"properties":{"hs/at":"2023-01-30T02:34:15Z","a":"2023-01-30 02:34:15"},"a":"2023-01-30T02:34:15Z"}"#;
    let want = r#"{"properties":{"hs/at":"2023-01-30","a":"2023-01-30"},"a":"2023-01-30T02:34:15Z"}"#;
    assert_eq!(normalized(&mut dates, given), want);
    assert!(Dates::of(&schema, Typed::Key(&[]), &["/b".to_owned()]).is_some());
    assert!(Dates::of(&json!({}), Typed::Key(&[]), &["/b".to_owned()]).is_some());
}

#[test]
fn names_may_be_anything() {
    for name in ["a b", "ä", "a\"b", "a/b", "a\\", ",", ":", "", "\u{1}", "at:b", "a\u{7f}", "日付", "true"] {
        let schema = json!({"properties": {name: stamp(), "b": {"type": "string"}}});
        for written in [serde_json::to_string(name).unwrap(), escaped(name)] {
            check(&schema, &format!(r#"{{"b":{written},{written}:"@","c":[{written},{written}],{written} : "@"}}"#));
        }
    }
}

fn escaped(name: &str) -> String {
    let escape = |unit: u16| format!("\\u{unit:04x}");
    format!("\"{}\"", name.encode_utf16().map(escape).collect::<String>())
}

/// One name, and other things declared of it elsewhere.
#[test]
fn one_name_at_several_places() {
    let schema = json!({"properties": {
        "at": stamp(),
        "a": {"properties": {"at": {"type": "string", "format": "date"}}},
        "b": {"properties": {"at": {"type": "string"}}},
        "c": {"properties": {"at": {"items": stamp()}}},
    }});
    check(&schema, r#"{"at":"@","a":{"at":"2023-01-30"},"b":{"at":"~"},"c":{"at":["@"]}}"#);
    check(&schema, r#"{"b":{"at":"2023-01-30"},"c":{"at":["2023-01-30T00:00:00Z","@"]}}"#);
    check(&schema, r#"{"at":"2023-01-30T00:00:00Z","c":{"at":["2023-01-30T00:00:00Z"]}}"#);
}

#[test]
fn marks_move_with_the_text() {
    let mut dates = dates(&json!({"properties": {"a": stamp(), "_meta": {"properties": {"at": stamp()}}}})).unwrap();
    let given = format!(r#"{{"a":"{RAW}","_meta":{{"at":"{RAW}"}},"b":1,"a":20230130}}"#);
    let find = |text: &str| [text.find("\"_meta"), text.find("{\"at"), text.find(",\"b")].map(Option::unwrap);
    let mut marks = find(&given);
    let got = dates.normalize(given.as_bytes(), &mut marks).unwrap();
    assert_eq!(marks, find(std::str::from_utf8(got).unwrap()));
}

#[test]
fn no_depth_is_too_deep() {
    let schema = json!({"properties": {"at": stamp(), "next": {"items": {"$ref": "#"}}}});
    let mut dates = dates(&schema).unwrap();
    let (open, close) = (r#"{"next":["#.repeat(20_000), "]}".repeat(20_000));
    let given = format!(r#"{open}{{"at":"{RAW}"}}{close}"#);
    assert_eq!(normalized(&mut dates, &given), given.replace(RAW, "2023-01-30T02:34:15Z"));
}

#[test]
fn many_names_are_looked_for() {
    for count in [1, 31, 32, 200, 2000] {
        let names: Vec<String> = (0..count).map(|it| format!("{it}")).collect();
        let properties: Map<String, Value> = names.iter().map(|it| (it.clone(), stamp())).collect();
        let schema = json!({"properties": properties});
        let document = |value: &str| {
            let members: Vec<String> = names.iter().map(|it| format!(r#""{it}":"{value}""#)).collect();
            format!("{{{}}}", members.join(","))
        };
        check(&schema, &document("@"));
        assert_eq!(is_right(&dates(&schema).unwrap(), &document("2023-01-30T02:34:15Z")), count < 2000);
    }
}

/// Alternatives of alternatives are not followed without end.
#[test]
fn a_schema_that_multiplies_comes_to_an_end() {
    let branches: Vec<Value> = (0..40)
        .map(|it| json!({"properties": {format!("a{it}"): {"$ref": "#/definitions/all"}, format!("b{}", it / 2): {"$ref": "#"}}}))
        .collect();
    let schema = json!({"definitions": {"all": {"oneOf": branches}}, "anyOf": branches, "properties": {"at": stamp()}});
    check(&schema, r#"{"at":"@"}"#);
}
