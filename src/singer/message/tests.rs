use super::*;
use crate::json::repair::repair;

#[test]
fn the_literal_file_name_comes_before_the_decoded_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("a%20b"), "").unwrap();
    let found = |name: &str| file_of(&format!("file://{}/{name}", folder.path().display()));
    assert_eq!(found("a%20b"), Some(file("a%20b")));
    assert_eq!(found("c%20d%"), Some(file("c d%")));
    assert_eq!(found("%ff"), Some(file("%ff")));
    assert_eq!(file_of("s3://bucket/a"), None);
    assert_eq!(file_of("file://host/a"), None);
}

/// Whether a line is decoded as a record, state or batch, or is an error; else it is dropped.
fn is_kept(line: &[u8]) -> bool {
    let kept = |it: Result<Message, Broken>| {
        matches!(it, Ok(Message::Record { .. } | Message::State(_) | Message::Batch { .. }) | Err(Broken::Lost { .. }))
    };
    match message(line, &mut Earlier::default()) {
        Err(Broken::Repairable) => kept(message(&repair(line).0, &mut Earlier::default())),
        other => kept(other),
    }
}

#[test]
fn no_one_byte_mutation_of_a_message_with_data_is_dropped() {
    for line in [
        r#"{"type":"RECORD","stream":"users","record":{"id":1,"a":"x"}}"#,
        r#"{"record": {}, "stream": "u", "type": "record"}"#,
        r#"{"type":"STATE","value":{"bookmarks":{"u":{"id":1}}}}"#,
        r#"{"value": 5, "type": "STATE"}"#,
        r#"{"type":"BATCH","stream":"u","encoding":{"format":"jsonl"},"manifest":["file:///a"]}"#,
    ] {
        for at in 0..line.len() {
            for byte in 0..=u8::MAX {
                let mut mutated = line.as_bytes().to_vec();
                mutated[at] = byte;
                assert!(mutated.split(|it| *it == b'\n').any(is_kept), "{}", String::from_utf8_lossy(&mutated));
            }
        }
    }
}

/// What the capture sees of a record; empty for what is none.
fn seen(line: &[u8], earlier: &mut Earlier) -> String {
    match message(line, earlier) {
        Ok(Message::Record { stream, data }) => {
            let texts = [stream, data.bytes].map(String::from_utf8_lossy);
            format!("{texts:?} {} {}", data.has_meta, data.deleted)
        }
        Ok(_) => String::new(),
        Err(broken) => format!("{broken:?}"),
    }
}

/// Lines are expected to begin like earlier ones, but nothing depends on it.
#[test]
fn a_line_means_the_same_after_any_other() {
    let lines = [
        r#"{"type":"RECORD","stream":"users","record":{"id":1,"a":"x"},"time_extracted":"2024"}"#,
        r#"{"record": {}, "stream": "u", "type": "record"}"#,
        r#"{"type":"record","record":{"_meta":1},"stream": "u"}"#,
        r#"{"stream":"a","type":"Record","record":{},"stream": "u"}"#,
    ];
    let mut warm = Earlier::default();
    for first in lines {
        for line in lines {
            for (at, byte) in (0..line.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))).step_by(7) {
                let mut line = line.as_bytes().to_vec();
                line[at] = byte;
                seen(first.as_bytes(), &mut warm);
                let text = String::from_utf8_lossy(&line);
                assert_eq!(seen(&line, &mut Earlier::default()), seen(&line, &mut warm), "{text}");
            }
        }
    }
}

#[test]
fn messages_without_data_may_have_any_shape() {
    for line in [
        r#"{"type":"SCHEMA","schema":{}}"#,
        r#"{"type":"SCHEMA","stream":"u","schema":"x","key_properties":"id"}"#,
        r#"{"type":"SCHEMA","stream":5}"#,
        r#"{"type":"ACTIVATE_VERSION"}"#,
        r#"{"type":"METRIC","value":5}"#,
        r#"{"type":"record","name":"x","fields":[]}"#,
        r#"{"type":7}"#,
        r#"{"level":"info","stream":"u","value":{"a":1}}"#,
    ] {
        assert!(!is_kept(line.as_bytes()), "{line}");
    }
}
