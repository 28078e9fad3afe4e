//! Secrets: in any encoding, at any place, cut anywhere, they reach no log line and no place that others can see.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::fault::few;
use super::report::Tried;
use super::script::MODES;
use super::session::{Desk, Seen, Setup};
use super::tries::of_session;

const AWKWARD: &str = r#"p@ss w/ "q"+9f8e7d6c"#;
const LONG: &str = "sup3rs3cretTOKEN0123456789abcdef";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nBAQEFAASCBKcwggS\n-----END PRIVATE KEY-----\n";
const NUMBER: u64 = 123_456_789;
const INNER: &str = "inner-s3cret-of-a-text";

fn config() -> Value {
    json!({
        "api_key": AWKWARD, "password": LONG, "private_key": KEY, "pin": NUMBER,
        "service_account": json!({"private_key": INNER}).to_string(),
    })
}

/// Spec with fields that only the schema marks.
fn spec() -> Value {
    let secret = || json!({"type": "string", "airbyte_secret": true});
    let properties = json!({"api_key": secret(), "password": secret(), "private_key": secret(), "service_account": secret(),
        "pin": {"type": "integer", "airbyte_secret": true}});
    json!({"type": "SPEC", "spec": {"connectionSpecification": {"type": "object", "properties": properties}}})
}

fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn hex(text: &str) -> String {
    text.bytes().map(|it| format!("{it:02x}")).collect()
}

/// Each encoding: its name, the text, and what of it must not be seen.
fn forms() -> Vec<(&'static str, String, String)> {
    let url = utf8_percent_encode(AWKWARD, NON_ALPHANUMERIC).to_string();
    let basic = BASE64_STANDARD.encode(format!("user:{LONG}"));
    let same = |name, text: String| (name, text.clone(), text);
    vec![
        same("plain", LONG.to_owned()),
        same("awkward", AWKWARD.to_owned()),
        same("URL", url),
        same("form", AWKWARD.replace(' ', "+").replace('"', "%22")),
        same("JSON", escaped(AWKWARD)),
        same("JSON twice", escaped(&escaped(AWKWARD))),
        ("Basic", format!("Basic {basic}"), basic[12..basic.len() - 4].to_owned()),
        same("base64", BASE64_STANDARD.encode(LONG)),
        same("hex", hex(LONG)),
        same("HEX", hex(LONG).to_uppercase()),
        ("repr", format!("{{'private_key': '{}'}}", KEY.replace('\n', "\\n")), "MIIEvQIBADANBgkq".to_owned()),
        ("a line of a key", "BAQEFAASCBKcwggS".to_owned(), "BAQEFAASCBKcwggS".to_owned()),
        same("a number", NUMBER.to_string()),
        same("inside a text of JSON", INNER.to_owned()),
    ]
}

/// Each place: its name and the lines that show a text there.
fn places(text: &str) -> Vec<(&'static str, Vec<String>)> {
    let message = |it: Value| vec![it.to_string()];
    let stderr = |text: String| vec![format!("%stderr {text}")];
    vec![
        ("stderr", stderr(format!("the request was {text} in all"))),
        ("noise", vec![format!("noise {text}")]),
        ("a log message", message(json!({"type": "LOG", "log": {"level": "INFO", "message": format!("x {text}")}}))),
        (
            "a stack trace",
            message(json!({"type": "LOG", "log": {"level": "ERROR", "message": "x", "stack_trace": text}})),
        ),
        ("a structured log", stderr(json!({"message": "m", "a": {"b": [text]}}).to_string())),
        ("a member's name", stderr(json!({"message": "m", text: 1}).to_string())),
        (
            "the error",
            message(
                json!({"type": "TRACE", "trace": {"type": "ERROR", "emitted_at": 1, "error": {"message": format!("no {text}"), "internal_message": text, "stack_trace": text, "failure_type": "system_error"}}}),
            ),
        ),
        ("a broken message", vec![format!(r#"{{"type":"RECORD","record":{{"stream":"alpha","data":{{"id":"{text}}}"#)]),
        (
            "a record's key",
            message(
                json!({"type": "RECORD", "record": {"stream": "alpha", "data": {"id": {"x": text}}, "emitted_at": 1}}),
            ),
        ),
        (
            "a stream's name",
            message(json!({"type": "RECORD", "record": {"stream": text, "data": {"id": 1}, "emitted_at": 1}})),
        ),
    ]
}

fn session(lines: &[String]) -> Seen {
    let mode = &MODES[0];
    let desk = Desk::new();
    let case = desk.case(mode, lines);
    let text = std::fs::read_to_string(&case).expect("a file");
    std::fs::write(&case, text.replacen("\n== discover", &format!("\n== spec\n{}\n\n== discover", spec()), 1))
        .expect("a file");
    Setup { config: &config(), secrets: Vec::new(), ..Setup::new(mode, &desk, &case) }.run()
}

/// What of these texts a session's logs show.
fn judge(name: String, seen: Seen, hidden: &[&str]) -> Tried {
    let mut tried = of_session(name.clone(), &seen);
    for line in &seen.logs {
        for text in hidden.iter().filter(|it| line.contains(**it)) {
            tried.wrong.push(format!("{name}: {text:?} is in {}", line.chars().take(200).collect::<String>()));
        }
    }
    if seen.exit.code().is_none() {
        tried.wrong.push(format!("{name}: {}", seen.exit));
    }
    tried.wrong.extend(seen.wrong.into_iter().filter(|it| !it.starts_with("F6")));
    tried
}

pub fn encodings(most: usize) -> Vec<Tried> {
    let forms = forms();
    let all = forms.iter().flat_map(|(form, text, hidden)| {
        places(text).into_iter().map(move |(place, lines)| (format!("{form} in {place}"), lines, hidden.as_str()))
    });
    // One session for all forms at a place would be faster, but the first error would end it.
    all.step_by((140 / most.saturating_mul(5).min(140)).max(1) | 1)
        .map(|(name, lines, hidden)| judge(name, session(&lines), &[hidden]))
        .collect()
}

pub fn cuts(most: usize) -> Vec<Tried> {
    let pads = [4070, 4080, 4090, 4095, 8190, 65_500, 65_520, 65_530, 65_535, 131_060];
    let each = pads.into_iter().take(few(most)).map(|pad| {
        let lines = [format!("%stderr $x({pad}){LONG} more"), format!("$x({pad}){LONG} more")].map(|it| {
            // Only some directions know $x.
            it.replace(&format!("$x({pad})"), &"z".repeat(pad))
        });
        // No piece of it that is long enough to be used.
        let hidden: Vec<&str> = (0..LONG.len() - 12).map(|at| &LONG[at..at + 12]).collect();
        judge(format!("behind {pad} characters"), session(&lines), &hidden)
    });
    each.collect()
}

pub fn words(most: usize) -> Vec<Tried> {
    let mode = &MODES[0];
    let words = ["connector", "message", "error", "type", "RECORD", "alpha", "level", "true"];
    let each = words.iter().take(few(most)).map(|word| {
        let desk = Desk::new();
        let lines = [mode.wire.row("alpha", json!({"id": 1})), mode.wire.state(0, &[1, 0], mode.states)];
        let case = desk.case(mode, &lines.map(|it| it.to_string()));
        let seen =
            Setup { config: &json!({"api_key": word}), secrets: Vec::new(), ..Setup::new(mode, &desk, &case) }.run();
        let mut tried = of_session(format!("the secret {word:?}"), &seen);
        if !seen.exit.success() || seen.documents.len() != 1 {
            tried.wrong.push(format!("the secret {word:?}: {}, {} documents", seen.exit, seen.documents.len()));
        }
        // The strict runtime has checked that each line is a log line.
        tried.wrong.extend(seen.wrong);
        tried
    });
    each.collect()
}

/// The connector looks for the secret where other users could see it.
pub fn places_that_others_see(_: usize) -> Vec<Tried> {
    let look = format!(
        "%shell for p in $SHIM $KEEPER $CONNECTOR; do for f in cmdline environ; do tr '\\0' '\\n' </proc/$p/$f | grep -q '{LONG}' && echo \"found in $f of $p\" >&2; done; grep -q 'Max core file size  *0 ' /proc/$p/limits || echo \"found core files of $p\" >&2; done; find $TMPDIR/.. -perm /077 -type f | grep -q . && echo found files >&2; true"
    );
    let seen = session(&[look]);
    vec![judge("argv, environ, core files, files".to_owned(), seen, &["found"])]
}
