use super::*;
use crate::json::repair::repair;
use crate::json::watch::Watchlist;
use crate::upstream::StateUpdate;

enum Outcome {
    Record,
    State(StateUpdate),
    Lost,
    /// The line is logged, or has no effect.
    Dropped,
}

/// Decodes a line as the capture does.
fn decode(line: &[u8]) -> Outcome {
    let outcome = |event: Result<Event, Broken>| match event {
        Ok(Event::Record(_)) => Outcome::Record,
        Ok(Event::State(it)) => Outcome::State(it),
        Err(Broken::Lost { .. }) => Outcome::Lost,
        Ok(_) | Err(_) => Outcome::Dropped,
    };
    match event(line, &mut Earlier::default()) {
        Err(Broken::Repairable) => outcome(event(&repair(line).0, &mut Earlier::default())),
        other => outcome(other),
    }
}

/// Each line with any of its bytes replaced by any other; a newline makes two lines of it.
fn mutations(line: &str) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..line.len()).flat_map(move |at| {
        (0..=u8::MAX).map(move |byte| {
            let mut mutated = line.as_bytes().to_vec();
            mutated[at] = byte;
            mutated
        })
    })
}

#[test]
fn no_one_byte_mutation_of_a_record_is_dropped() {
    for line in [
        r#"{"type":"RECORD","record":{"stream":"users","data":{"id":1,"a":"x"},"emitted_at":1}}"#,
        r#"{"record": {"namespace": "n", "data": {}, "stream": "u"}, "type": "RECORD"}"#,
    ] {
        for mutated in mutations(line) {
            let is_kept =
                mutated.split(|it| *it == b'\n').any(|it| matches!(decode(it), Outcome::Record | Outcome::Lost));
            assert!(is_kept, "{}", String::from_utf8_lossy(&mutated));
        }
    }
}

/// What the capture sees of a record; empty for what is none.
fn seen(line: &[u8], earlier: &mut Earlier) -> String {
    match event(line, earlier) {
        Ok(Event::Record(it)) => {
            let texts = [Some(it.stream), it.namespace, Some(it.data.bytes), it.changes, it.file];
            let texts = texts.map(|it| it.map(String::from_utf8_lossy));
            format!("{texts:?} {} {} {:?}", it.data.has_meta, it.data.deleted, it.found.all())
        }
        Ok(_) => String::new(),
        Err(broken) => format!("{broken:?}"),
    }
}

/// Lines are expected to begin like earlier ones, but nothing depends on it. Seven has no factor in common with 256: each byte
/// gets each seventh value, another one than its neighbours.
#[test]
fn a_line_means_the_same_after_any_other() {
    let lines = [
        r#"{"type":"RECORD","record":{"stream":"users","data":{"id":1,"a":{"id":2}},"emitted_at":1795254898752}}"#,
        r#"{"type": "RECORD", "record": {"stream": "u", "data": {"id": 12.5, "ä": "zwölf \"x\"", "c": [-1, null]}, "emitted_at": 1795254898752}}"#,
        r#"{"record": {"namespace": "n", "data": {"id":1}, "stream": "u"}, "type": "RECORD"}"#,
        r#" {"type":"RECORD","record":{"emitted_at":1,"namespace":"n","stream":"u","data": {"id":1},"stream":"v"},"x":1}"#,
        r#"{"type":"RECORD","record":{"stream":"u","meta":{"changes":[1]},"data":{"_meta":1,"id":1}}}"#,
        r#"{"type":"RECORD","record":{"stream":"u","data":{"id":1},"meta":{"changes":[1]}}}"#,
    ];
    let mut watched = Watchlist::default();
    watched.add("id");
    let mut warm = Earlier::default();
    warm.hints.watch(watched.clone());
    for first in lines {
        for line in lines.iter().flat_map(|it| mutations(it)).step_by(7) {
            let mut fresh = Earlier::default();
            fresh.hints.watch(watched.clone());
            seen(first.as_bytes(), &mut warm);
            assert_eq!(seen(&line, &mut fresh), seen(&line, &mut warm), "{}", String::from_utf8_lossy(&line));
        }
    }
}

#[test]
fn no_one_byte_mutation_of_a_state_is_dropped_or_resets_a_stream() {
    for (line, streams, has_shared) in [
        (
            r#"{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"u"},"stream_state":{"c":2}}}}"#,
            1,
            false,
        ),
        (
            r#"{"type":"STATE","state":{"type":"GLOBAL","global":{"shared_state":{"l":1},"stream_states":[{"stream_descriptor":{"name":"u","namespace":"n"},"stream_state":{"c":2}}]}}}"#,
            1,
            true,
        ),
        (r#"{"type":"STATE","state":{"data":{"u":{"c":1}}}}"#, 0, true),
    ] {
        for mutated in mutations(line) {
            let text = String::from_utf8_lossy(&mutated).into_owned();
            let is_kept = mutated.split(|it| *it == b'\n').any(|it| match decode(it) {
                Outcome::State(state) => {
                    assert_eq!(state.streams.len(), streams, "{text}");
                    assert!(state.streams.iter().all(|it| it.1.is_some()), "a reset: {text}");
                    assert_eq!(state.shared.is_some(), has_shared, "{text}");
                    true
                }
                outcome => matches!(outcome, Outcome::Lost),
            });
            assert!(is_kept, "{text}");
        }
    }
}

#[test]
fn messages_without_data_may_have_any_shape() {
    for line in [
        r#"{"type":"LOG","log":{"level":20,"message":{"rows":3}}}"#,
        r#"{"type":"LOG","level":"INFO"}"#,
        r#"{"type":"LOG","log":null}"#,
        r#"{"type":"LOG","log":["a"]}"#,
        r#"{"type":"LOG","log":{"message":"{\"type\":\"RECORD\",\"record\":{\"stream\":\"a\",\"data\":{}}}"}}"#,
        r#"{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","connectorConfig":{"config":"x"}}}"#,
        r#"{"type":"CONTROL","control":{"connectorConfig":{}}}"#,
        r#"{"type":"CONTROL","control":[]}"#,
        r#"{"type":"TRACE","trace":{"type":"ESTIMATE","estimate":{"name":5,"row_estimate":"12"}}}"#,
        r#"{"type":"TRACE","trace":{"type":"ESTIMATE","estimate":null}}"#,
        r#"{"type":"TRACE","trace":{"type":"STREAM_STATUS","stream_status":{"status":"RUNNING"}}}"#,
        r#"{"type":"TRACE","trace":{"type":"STREAM_STATUS","stream_status":"RUNNING"}}"#,
        r#"{"type":"TRACE","trace":{"type":"STREAM_STATUS","stream_status":{"status":"RUNNING","stream_descriptor":{"name":"u"},"reasons":{"rate_limited":{"quota_reset":1e22}}}}}"#,
        r#"{"type":"TRACE","trace":{"type":"STREAM_STATUS","stream_status":{"status":"RUNNING","stream_descriptor":{"name":"u"},"reasons":[5,{"rate_limited":{"quota_reset":1e22}}]}}}"#,
        r#"{"type":"TRACE","trace":null}"#,
        r#"{"type":"TRACE","trace":{"type":7,"analytics":{}}}"#,
        r#"{"type":"SPEC","spec":5}"#,
        r#"{"type":"CONNECTION_STATUS","connectionStatus":null}"#,
        r#"{"type":7}"#,
        r#"{"level":"info","state":{"a":1},"data":{"b":2}}"#,
        r#"{"text":"x","record":{"level":{"name":"INFO"},"message":"x"}}"#,
    ] {
        assert!(matches!(decode(line.as_bytes()), Outcome::Dropped), "{line}");
    }
}

#[test]
fn errors_and_incomplete_statuses_are_never_dropped() {
    for line in [
        r#"{"type":"TRACE","trace":{"type":"ERROR","error":"out of quota"}}"#,
        r#"{"type":"TRACE","trace":{"type":"ERROR","error":{"message":{"code":5},"stream_descriptor":"u"}}}"#,
        r#"{"type":"TRACE","trace":{"type":"ERROR"}}"#,
        r#"{"type":"TRACE","trace":{"type":"STREAM_STATUS","stream_status":{"status":"INCOMPLETE"}}}"#,
    ] {
        let mut earlier = Earlier::default();
        assert!(matches!(event(line.as_bytes(), &mut earlier), Ok(Event::Error(_))), "{line}");
    }
}

#[test]
fn two_payloads_in_one_message_are_an_error() {
    for line in [
        r#"{"type":"RECORD","record":{"stream":"a","data":{"id":1},"data":{"id":2}}}"#,
        r#"{"type":"RECORD","record":{"stream":"a","data":{"id":1}},"record":{"stream":"a","data":{"id":2}}}"#,
        r#"{"type":"RECORD","record":{"stream":"a","data":{"id":1}},"state":{"data":{}}}"#,
        r#"{"type":"LOG","record":{"stream":"a","data":{"id":1}}}"#,
        r#"{"type":"LOG","log":{"message":"x"},"state":{"type":"STREAM"}}"#,
    ] {
        assert!(matches!(decode(line.as_bytes()), Outcome::Lost), "{line}");
    }
}
