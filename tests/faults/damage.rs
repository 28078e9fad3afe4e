//! Damaged lines: cut, doubled, in another encoding, and with one byte changed.

use std::fmt::Write as _;

use prost::Message;
use serde_json::Value;

use super::messages::{Checkpoint, Inner, Operation, Record, UpdateResponse, ValueType};
use super::report::Tried;
use super::script::{MODES, Mode, STREAMS, States};
use super::session::{Desk, Setup};
use super::tries::of_session;

/// A direction that prints these bytes.
fn bytes(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold("%bytes ".to_owned(), |mut text, byte| {
        let _ = write!(text, "\\x{byte:02x}");
        text
    })
}

fn line(text: impl AsRef<[u8]>) -> String {
    bytes([text.as_ref(), b"\n"].concat())
}

/// The beginning of a line, which differs from nothing and from all of it.
fn beginning(line: &str, variant: usize) -> String {
    bytes(&line[..1 + variant % (line.len() - 1)])
}

pub fn cut_and_end(line: &str, variant: usize) -> Vec<String> {
    vec![beginning(line, variant), "%exit 0".to_owned()]
}

pub fn cut_and_kill(line: &str, variant: usize) -> Vec<String> {
    vec![beginning(line, variant), "%kill KILL".to_owned()]
}

pub fn doubled(text: &str, _: usize) -> Vec<String> {
    vec![line([text, text].concat())]
}

pub fn after_noise(text: &str, _: usize) -> Vec<String> {
    vec![line(["50% done ", text].concat())]
}

pub fn byte_by_byte(text: &str, _: usize) -> Vec<String> {
    let each = text.bytes().chain([b'\n']).flat_map(|byte| [bytes([byte]), "%sleep 0".to_owned()]);
    each.collect()
}

pub fn with_crlf(text: &str, _: usize) -> Vec<String> {
    vec![line([text, "\r"].concat())]
}

pub fn with_mark(text: &str, _: usize) -> Vec<String> {
    vec![line(["\u{feff}", text].concat())]
}

pub fn with_nul(text: &str, _: usize) -> Vec<String> {
    vec![line(["\0\0", text].concat())]
}

pub fn with_codes(text: &str, _: usize) -> Vec<String> {
    vec![line(["\u{1b}[32m", text, "\u{1b}[0m"].concat())]
}

pub fn utf16(text: &str, _: usize) -> Vec<String> {
    let text: Vec<u8> = text.encode_utf16().chain([10]).flat_map(u16::to_le_bytes).collect();
    vec![bytes(text)]
}

pub fn utf32(text: &str, _: usize) -> Vec<String> {
    let text: Vec<u8> = text.chars().chain(['\n']).flat_map(|it| u32::from(it).to_le_bytes()).collect();
    vec![bytes(text)]
}

pub fn repr(text: &str, _: usize) -> Vec<String> {
    vec![line(text.replace('"', "'"))]
}

pub fn quoted(text: &str, _: usize) -> Vec<String> {
    vec![line(Value::from(text).to_string())]
}

/// The record with 300 MB more.
fn grown(text: &str) -> [String; 3] {
    let (head, tail) = text.split_once(r#""id":"#).expect("a record");
    [head.to_owned() + r#""pad":""#, "$x(300000000)".to_owned(), r#"","id":"#.to_owned() + tail]
}

pub fn huge(text: &str, _: usize) -> Vec<String> {
    vec![format!("%line {}", grown(text).concat())]
}

pub fn huge_at_the_end(text: &str, _: usize) -> Vec<String> {
    vec![format!("%bytes {}", grown(text).concat()), "%exit 0".to_owned()]
}

/// What one byte of a line becomes.
const CHANGES: [&[u8]; 9] = [b"", b"\0", b" ", b"\"", b"{", b"9", b"\xff", b"\n", b"\\"];

/// A line with one byte changed.
fn changed(line: &str, at: usize, change: usize) -> Vec<u8> {
    [&line.as_bytes()[..at], CHANGES[change], &line.as_bytes()[at + 1..], b"\n"].concat()
}

pub fn mutated_messages_of_a_source(most: usize) -> Vec<Tried> {
    mutations(&MODES[0], most)
}

pub fn mutated_messages_of_a_tap(most: usize) -> Vec<Tried> {
    mutations(&MODES[1], most)
}

/// Rows and states with one byte changed are captured or fail the capture; log messages never do.
fn mutations(mode: &'static Mode, most: usize) -> Vec<Tried> {
    let row = mode.wire.row(STREAMS[0], serde_json::json!({"id": 2})).to_string();
    let state = mode.wire.state(0, &[2, 0], States::Stream).to_string();
    let mut all = Vec::new();
    for (kind, text) in [("row", row), ("state", state)] {
        let places = (0..text.len()).flat_map(|at| (0..CHANGES.len()).map(move |change| (at, change)));
        all.extend(places.map(|(at, change)| (kind, text.clone(), at, change)));
    }
    let step = (all.len() / most.saturating_mul(6)).max(1) | 1;
    let data = all.iter().step_by(step).map(|(kind, text, at, change)| mutated(mode, kind, text, *at, *change));
    data.chain([mutated_logs(mode)]).collect()
}

fn rows(mode: &Mode, ids: &[u64]) -> Vec<String> {
    ids.iter().map(|id| mode.wire.row(STREAMS[0], serde_json::json!({"id": id})).to_string()).collect()
}

fn mutated(mode: &'static Mode, kind: &str, text: &str, at: usize, change: usize) -> Tried {
    let message = changed(text, at, change);
    let before = rows(mode, if kind == "row" { &[1] } else { &[1, 2] });
    let lines = [before, vec![bytes(&message)], rows(mode, &[3])].concat();
    let desk = Desk::new();
    let case = desk.case(mode, &lines);
    let seen = Setup::new(mode, &desk, &case).run();
    let name = format!("{} {kind}, byte {at} becomes {:?}", mode.name, String::from_utf8_lossy(CHANGES[change]));
    let mut tried = of_session(name, &seen);
    let count = seen.documents.len();
    match seen.exit.code() {
        Some(0) if count == 3 || count == 2 && kind == "row" && is_of_another_stream(&message) => {}
        Some(0) => {
            tried.lost += 3 - count as u64;
            tried.wrong.push(format!("exit code 0 and {count} documents: {}", String::from_utf8_lossy(&message)));
        }
        Some(1) if !seen.last.is_empty() => {}
        code => tried.wrong.push(format!("it ended with {code:?}: {}", seen.last)),
    }
    tried.wrong.extend(seen.wrong);
    tried
}

/// Whether a damaged record is a valid one of a stream that has no binding.
fn is_of_another_stream(message: &[u8]) -> bool {
    // flow-shim repairs raw control characters and what is not UTF-8.
    let message: String =
        String::from_utf8_lossy(message).chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    let message: Value = serde_json::from_str(&message).unwrap_or_default();
    let stream = message["record"].get("stream").or(message.get("stream"));
    stream.is_some_and(|it| it.as_str().is_some_and(|it| it != STREAMS[0]))
}

fn mutated_logs(mode: &'static Mode) -> Tried {
    let text = mode.wire.log("page done").to_string();
    let places = (0..text.len()).flat_map(|at| (0..CHANGES.len()).map(move |change| (at, change)));
    // The beginning of a line may be that of a record.
    let logs =
        places.filter(|(_, change)| CHANGES[*change] != b"\n").map(|(at, change)| bytes(changed(&text, at, change)));
    let lines: Vec<String> = rows(mode, &[1]).into_iter().chain(logs).chain(rows(mode, &[2])).collect();
    let desk = Desk::new();
    let case = desk.case(mode, &lines);
    let seen = Setup::new(mode, &desk, &case).run();
    let mut tried = of_session(format!("{}, log messages", mode.name), &seen);
    if seen.exit.code() != Some(0) || seen.documents.len() != 2 {
        tried.wrong.push(format!("{}, {} documents: {}", seen.exit, seen.documents.len(), seen.last));
    }
    tried.wrong.extend(seen.wrong);
    tried
}

/// The same for the bytes of a Fivetran connector's messages. What they mean after the change is told by prost.
pub fn mutated_messages_of_a_server(most: usize) -> Vec<Tried> {
    let mode = &MODES[2];
    let id = ValueType { inner: Some(Inner::Long(2)) };
    let data = [("id".to_owned(), id)].into();
    let record = Record { schema_name: None, table_name: STREAMS[0].to_owned(), kind: 0, data };
    let checkpoint = Checkpoint { state_json: r#"{"alpha":{"pos":2}}"#.to_owned() };
    let both = [("row", Operation::Record(record)), ("state", Operation::Checkpoint(checkpoint))];
    let both = both.map(|(kind, it)| (kind, UpdateResponse { operation: Some(it) }.encode_to_vec()));
    let places = |bytes: &[u8]| (0..bytes.len()).flat_map(|at| (0..BYTE_CHANGES).map(move |change| (at, change)));
    let all: Vec<_> = both
        .iter()
        .flat_map(|(kind, bytes)| places(bytes).map(move |(at, change)| (kind, bytes, at, change)))
        .collect();
    let step = (all.len() / most.saturating_mul(6)).max(1) | 1;
    let each = all.iter().step_by(step).map(|&(kind, bytes, at, change)| {
        let message = with_another_byte(bytes, at, change);
        let raw = message.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let before = rows(mode, if *kind == "row" { &[1] } else { &[1, 2] });
        let lines = [before, vec![format!("%raw {raw}")], rows(mode, &[3])].concat();
        let desk = Desk::new();
        let case = desk.case(mode, &lines);
        let seen = Setup::new(mode, &desk, &case).run();
        let mut tried = of_session(format!("{kind}, byte {at}, change {change}"), &seen);
        let count = seen.documents.len();
        match seen.exit.code() {
            Some(0) if count == 3 || count == 2 && *kind == "row" && is_no_row_of_ours(&message) => {}
            Some(0) => {
                tried.lost += 3_u64.saturating_sub(count as u64);
                tried.wrong.push(format!("exit code 0 and {count} documents: {raw}"));
            }
            Some(1) if !seen.last.is_empty() => {}
            code => tried.wrong.push(format!("it ended with {code:?}: {}", seen.last)),
        }
        tried.wrong.extend(seen.wrong);
        tried
    });
    each.collect()
}

const BYTE_CHANGES: usize = 6;

/// A message without a byte, or with another one in its place.
fn with_another_byte(message: &[u8], at: usize, change: usize) -> Vec<u8> {
    let byte = message[at];
    let instead: &[u8] = match change {
        0 => &[],
        1 => &[0],
        2 => &[0xff],
        3 => &[byte.wrapping_add(1)],
        4 => &[byte ^ 0x80],
        _ => &[byte ^ 0x08],
    };
    [&message[..at], instead, &message[at + 1..]].concat()
}

/// Whether a message is a valid one without a row of the first stream: one of another table, a TRUNCATE, a warning.
fn is_no_row_of_ours(message: &[u8]) -> bool {
    match UpdateResponse::decode(message).map(|it| it.operation) {
        Ok(Some(Operation::Record(record))) => {
            record.table_name != STREAMS[0] || record.schema_name.is_some_and(|it| !it.is_empty()) || record.kind == 3
        }
        Ok(Some(Operation::Records(it))) => it.records.is_empty(),
        Ok(Some(Operation::Checkpoint(_))) => true,
        // What prost skips is a message that flow-shim knows.
        Ok(None) => message.first().is_none_or(|it| [2, 4, 5, 8].contains(&(it >> 3))),
        Err(_) => false,
    }
}
