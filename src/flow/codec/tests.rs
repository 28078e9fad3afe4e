use std::io::{self, Cursor, Read};

use proptest::prelude::*;
use prost::Message;
use serde_json::Value;

use super::*;

const CODECS: [Codec; 2] = [Codec::Json, Codec::Proto];

/// A message in both codecs, the protobuf frame as Flow encodes it.
struct Example {
    line: Vec<u8>,
    frame: Vec<u8>,
}

fn example_requests() -> Vec<Example> {
    let all: Value = serde_json::from_str(include_str!("../../../fixtures/flow-messages.json")).unwrap();
    let bytes = |hex: &str| {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect::<Vec<u8>>()
    };
    let requests = all["requests"].as_array().unwrap().iter();
    requests
        .map(|it| Example {
            line: format!("{}\n", it["json"]).into_bytes(),
            frame: bytes(it["frame"].as_str().unwrap()),
        })
        .collect()
}

/// All requests of an input, as text; the error of the last one.
fn requests(input: impl Read) -> (Vec<String>, Option<String>) {
    let mut all = Vec::new();
    let mut reader = Reader::new(input).unwrap();
    loop {
        match reader.request() {
            Ok(Some(request)) => all.push(format!("{request:?}")),
            Ok(None) => return (all, None),
            Err(error) => return (all, Some(format!("{error:#}"))),
        }
    }
}

#[test]
fn requests_are_the_same_in_both_codecs() {
    for Example { line, frame } in example_requests() {
        let (from_json, from_proto) = (requests(line.as_slice()), requests(frame.as_slice()));
        assert_eq!((from_json.0.len(), &from_json.1), (1, &None));
        assert_eq!(from_json, from_proto);
    }
}

#[test]
fn requests_arrive_in_any_pieces() {
    for frames in [true, false] {
        let examples = example_requests();
        let each: Vec<_> = examples.into_iter().map(|it| if frames { it.frame } else { it.line }).collect();
        let all = each.concat();
        let (whole, error) = requests(all.as_slice());
        assert_eq!((whole.len(), error), (each.len(), None));
        for cut in 0..all.len() {
            let (first, rest) = all.split_at(cut);
            assert_eq!(requests(first.chain(rest)).0, whole);
        }
    }
}

#[test]
fn requests_that_are_cut_short_are_errors() {
    let frames: Vec<_> = example_requests().into_iter().take(3).map(|it| it.frame).collect();
    let mut ends = vec![0];
    frames.iter().for_each(|it| ends.push(ends.last().unwrap() + it.len()));
    let all = frames.concat();
    for cut in 0..=all.len() {
        let (found, error) = requests(&all[..cut]);
        assert_eq!(found.len(), ends.iter().filter(|it| **it <= cut).count() - 1);
        assert_eq!(error.is_none(), ends.contains(&cut), "{cut}: {error:?}");
        if let Some(error) = error.filter(|_| cut > 3) {
            assert!(error.starts_with("the input ends "), "{error}");
        }
    }
}

#[test]
fn requests_that_are_wrong_are_errors_without_their_text() {
    let spec = [8, 0, 0, 0, 0x0a, 6, 8, 7, 0x12, 2, b'{', b'}'];
    for (frame, wanted) in [
        (&[0, 0, 0, 0][..], "does not know"),
        (&[0xff, 0xff, 0xff, 0xff], "a request of 4294967295 bytes"),
        (&[0, 0, 0, 0x20], "a request of 536870912 bytes"),
        // Field 0, a wrong wire type, a length beyond the end, an unknown kind.
        (&[1, 0, 0, 0, 0], "can't be read"),
        (&[2, 0, 0, 0, 0x08, 1], "can't be read"),
        (&[2, 0, 0, 0, 0x0a, 9], "can't be read"),
        (&[2, 0, 0, 0, 0x3a, 0], "does not know"),
        // Discover with a config that is not JSON, and without one; Open without a capture.
        (&[8, 0, 0, 0, 0x12, 6, 0x12, 4, b'{', b'k', b'e', b'y'], "config is not JSON"),
        (&[4, 0, 0, 0, 0x12, 2, 0x08, 7], "without config"),
        (&[2, 0, 0, 0, 0x2a, 0], "without capture"),
    ] {
        let (found, error) = requests([&spec, frame].concat().as_slice());
        let error = error.unwrap();
        assert_eq!(found, ["Spec"]);
        assert!(error.contains(wanted) && !error.contains("key"), "{error}");
    }
}

#[test]
fn the_fourth_byte_decides_between_the_codecs() {
    let codec = |first: &[u8]| Reader::new(first).unwrap().codec();
    // Lengths whose lower bytes are text: 123 and 8827 (Q6).
    for first in [b"{\0\0\0", b"{\"\0\0", b"{\"a\x1f"] {
        assert_eq!(codec(first), Codec::Proto);
    }
    for first in [&b""[..], b"\n", b"{}\n", b"{\"a ", "{\"\u{e4}".as_bytes()] {
        assert_eq!(codec(first), Codec::Json);
    }
}

/// `captured` as prost reads it.
#[derive(Clone, PartialEq, prost::Message)]
struct CapturedResponse {
    #[prost(message, optional, tag = "6")]
    captured: Option<Captured>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Captured {
    #[prost(uint32, tag = "1")]
    binding: u32,
    #[prost(bytes = "vec", tag = "2")]
    doc: Vec<u8>,
}

/// The `captured` messages of an output. In protobuf, each is the only encoding that prost gives it.
fn documents(codec: Codec, mut output: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut found = Vec::new();
    while !output.is_empty() {
        let end = match codec {
            Codec::Json => memchr::memchr(b'\n', output).unwrap() + 1,
            Codec::Proto => 4 + u32::from_le_bytes(output[..4].try_into().unwrap()) as usize,
        };
        let (message, rest) = output.split_at(end);
        found.push(match codec {
            Codec::Json => {
                let text = message.strip_prefix(br#"{"captured":{"binding":"#).unwrap();
                let digits = text.iter().position(|it| *it == b',').unwrap();
                let binding = std::str::from_utf8(&text[..digits]).unwrap().parse().unwrap();
                let document = text[digits..].strip_prefix(br#","doc":"#).unwrap();
                (binding, document.strip_suffix(b"}}\n").unwrap().to_vec())
            }
            Codec::Proto => {
                let decoded = CapturedResponse::decode(&message[4..]).unwrap();
                assert!(decoded.encode_to_vec() == message[4..]);
                let captured = decoded.captured.unwrap();
                (captured.binding as usize, captured.doc)
            }
        });
        output = rest;
    }
    found
}

/// Documents of these lengths arrive whole and in order, however they are cut into parts.
fn check_documents(lengths: &[(usize, usize)], cut: usize) {
    for codec in CODECS {
        let mut out = Writer::new(Vec::new());
        out.set_codec(codec);
        let text = |it: usize| vec![b'a' + (it % 26) as u8; it];
        for (binding, length) in lengths {
            let text = text(*length);
            let (first, rest) = text.split_at(cut.min(*length));
            out.captured(*binding, &[first, b"", rest]).unwrap();
        }
        out.flush().unwrap();
        let found = documents(codec, &out.sink);
        assert!(found.iter().map(|(binding, text)| (*binding, text.len())).eq(lengths.iter().copied()));
        assert!(found.iter().all(|it| it.1 == text(it.1.len())));
    }
}

#[test]
fn documents_at_the_limits_of_lengths_arrive_whole() {
    let bindings = [0, 1, 127, 128, 16_383, 16_384, u32::MAX as usize];
    // Where a length takes one byte more, as a document's and as a message's.
    let limits = [1 << 7, 1 << 14, 1 << 21, PIECE];
    let around = |it: usize| it.saturating_sub(CAPTURED_OVERHEAD)..it + 2;
    for binding in bindings {
        let lengths: Vec<_> = limits.into_iter().flat_map(around).map(|length| (binding, length)).collect();
        let (short, long): (Vec<_>, Vec<_>) = lengths.into_iter().partition(|it| it.1 < 1 << 20);
        check_documents(&short, 1);
        check_documents(&[long[0], long[long.len() / 2], long[long.len() - 1]], 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn documents_of_any_length_arrive_whole_and_in_order(
        lengths in prop::collection::vec((0usize..40_000, prop_oneof![2usize..400, 2usize..40_000, PIECE - 99..2 * PIECE]), 0..20),
        cut in 0usize..300,
    ) {
        check_documents(&lengths, cut);
    }

    #[test]
    fn any_input_is_read_to_an_end(input in prop::collection::vec(any::<u8>(), 0..200), length in 0u32..200) {
        let _ = requests(input.as_slice());
        let _ = requests(Cursor::new(length.to_le_bytes()).chain(input.as_slice()));
    }
}

#[test]
fn messages_beyond_the_transports_limit_are_errors() {
    let text = vec![b'x'; LONGEST_MESSAGE];
    let schema = Value::from(String::from_utf8(text.clone()).unwrap());
    for codec in CODECS {
        let mut out = Writer::new(io::sink());
        out.set_codec(codec);
        let overhead = match codec {
            Codec::Json => br#"{"captured":{"binding":0,"doc":}}_"#.len(),
            Codec::Proto => 14,
        };
        out.captured(0, &[&text[overhead..]]).unwrap();
        let error = out.captured(0, &[&text[overhead - 1..]]).unwrap_err().to_string();
        assert_eq!(error, "a document of 67108865 bytes is more than Flow takes (64 MiB)");
        let response = Response::SourcedSchema { binding: 0, document_schema: &schema };
        assert!(out.send(&response).unwrap_err().to_string().contains("sourcedSchema"));
        assert!(out.is_empty());
    }
}
