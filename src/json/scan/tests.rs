//! The scanner against serde_json, and against bytes that are no JSON at all.

use super::*;
use proptest::prelude::*;

/// Whether a text has flaws. Near its end it is scanned in another way than with something behind it, so it is scanned twice.
fn scan(text: &[u8]) -> Result<bool, Fault> {
    let scan = |text: &[u8]| {
        let mut hints = Hints::default();
        let mut scanner = Scanner::new(text, &mut hints);
        scanner.value()?;
        scanner.end()?;
        Ok(scanner.flawed())
    };
    let alone = scan(text);
    let padded = scan(&[text, &[b' '; 64]].concat());
    assert_eq!(alone.is_ok(), padded.is_ok(), "{}", text.escape_ascii());
    assert_eq!(alone.ok(), padded.ok(), "{}", text.escape_ascii());
    alone
}

#[test]
fn accepts_valid_json_and_rejects_invalid_json() {
    let good = [
        "{}",
        "[]",
        "null",
        "true",
        "-0",
        "0.5e-7",
        "1E300",
        "1e-400",
        r#""\u00e9\ud83d\ude00""#,
        r#" {"a" : [ 1 , { } ] } "#,
        r#"[[],[[]],{"a":{"b":[{}]}}]"#,
        "123456789012345678901234567890.00",
    ];
    for text in good {
        assert_eq!(scan(text.as_bytes()), Ok(false), "{text}");
    }
    for text in ["1E400", "[-1.5e+999]"] {
        assert_eq!(scan(text.as_bytes()), Ok(true), "{text} is beyond a double's range");
    }
    let bad = [
        "",
        "{",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "+1",
        "--1",
        "nul",
        "\"\\x\"",
        "\"abc",
        "[1}",
        "{\"a\":1]",
        "1 2",
        "Nan",
        "-Inf",
        "\"\\u12g4\"",
        "{\"a\":1,}",
    ];
    for text in bad {
        assert!(scan(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn reports_repairable_values() {
    let flawed: [&[u8]; 6] = [b"[NaN]", b"{\"a\":-Infinity}", b"Infinity", b"\"\\ud800\"", b"\"\xff\"", b"\"a\tb\""];
    for text in flawed {
        assert_eq!(scan(text), Ok(true), "{}", text.escape_ascii());
    }
}

#[test]
fn a_thousand_levels_need_no_stack() {
    let text = format!("{}1{}", "[{\"a\":".repeat(50_000), "}]".repeat(50_000));
    assert_eq!(scan(text.as_bytes()), Ok(false));
    let crossed = format!("{}1{}", "[{\"a\":".repeat(100), "]}".repeat(100));
    assert!(scan(crossed.as_bytes()).is_err());
}

#[test]
fn names_are_compared_unescaped() {
    let mut found = false;
    Scanner::new(br#"{"\u005fmeta": 1}"#, &mut Hints::default())
        .object(|it, key| {
            found = key.is("_meta");
            it.value().map(|_| ())
        })
        .unwrap();
    assert!(found);
}

proptest! {
    /// The scanner and serde_json agree on every text that has no flaw.
    #[test]
    fn agrees_with_serde_json(text in r#"[\[\]{}:, "\\abtruefalsn0-9.eE+\-\u{e9}]{0,24}"#) {
        let ours = scan(text.as_bytes());
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        prop_assert_eq!(ours == Ok(false), theirs, "{}", text);
    }

    /// What is recognised at a glance ends where the scanner says.
    #[test]
    fn common_scalars_end_where_they_should(
        value in r#"-?(0|[1-9][0-9]{0,17})(\.[0-9]{0,9})?(e1)?|"[a-z ]{0,34}(\\\\n|\u{e9}|\x1f)?"|true|null|false|nul|\[|N"#,
        rest in "[,}\\] ]",
    ) {
        let line = format!("{value}{rest}{:64}", "");
        let mut hints = Hints::default();
        let mut scanner = Scanner::new(line.as_bytes(), &mut hints);
        let first = scanner.peek();
        let general = scanner.scalar(first).map(|()| scanner.at).ok();
        let is_common = !value.contains(['e', '\\', '\u{e9}', '\x1f']) || value == "true" || value == "false";
        match common::scalar(line.as_bytes(), 0) {
            Some(end) => prop_assert_eq!((Some(end), scanner.flawed()), (general, false)),
            None => prop_assert!(!is_common || general.is_none() || value.len() > 15 || rest == " " || value == "N"),
        }
    }

    #[test]
    fn runs_end_where_they_should(bytes in proptest::collection::vec(prop_oneof![9 => Just(b'a'), 1 => any::<u8>()], 0..70)) {
        let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len());
        let (length, beyond_ascii) = common::plain_run(&bytes);
        prop_assert_eq!(length, end);
        prop_assert_eq!(beyond_ascii, !bytes[..length].is_ascii());
    }

    /// Hints never change what is found.
    #[test]
    fn hints_change_nothing(texts in proptest::collection::vec(r#"\{("(a|b|\\u0061|[a-z]{12,40})" ?: ?(1|"x{0,40}"|\{"c":2\}),?){0,4}\}?"#, 1..6)) {
        let mut hints = Hints::default();
        for text in texts {
            let members = |hints: &mut Hints| {
                let mut found = Vec::new();
                let mut scanner = Scanner::new(text.as_bytes(), hints);
                let end = scanner.object(|it, key| {
                    found.push((key.name().into_owned(), key.position(), it.value()?));
                    Ok(())
                });
                (end, found)
            };
            prop_assert_eq!(members(&mut hints), members(&mut Hints::default()));
        }
    }

    #[test]
    fn survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = scan(&bytes);
    }
}
