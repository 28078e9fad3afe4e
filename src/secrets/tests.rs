//! Secrets in any encoding, inside any text.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::redactor::Redactor;

fn redactor(secrets: &[&str]) -> Redactor {
    Redactor::default().with(secrets.iter().map(|it| (*it).to_owned()).collect()).unwrap()
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As `json.dumps` writes it, all in ASCII.
fn json_ascii(text: &str) -> String {
    json_escaped(text)
        .chars()
        .flat_map(|it| match it.is_ascii() {
            true => vec![it.to_string()],
            false => it.encode_utf16(&mut [0; 2]).iter().map(|it| format!("\\u{it:04x}")).collect(),
        })
        .collect()
}

/// As `repr(text.encode())` writes it.
fn python_bytes(text: &str) -> String {
    text.bytes().map(|it| it.escape_ascii().to_string()).collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|it| format!("{it:02x}")).collect()
}

const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'!').remove(b'~');
const SLASHES_STAY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-');
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'%');

/// Every form in which `text` must not be visible.
fn forms(text: &str) -> Vec<(&'static str, String)> {
    let percent = |set| utf8_percent_encode(text, set).to_string();
    let lower = |it: String| {
        let mut parts = it.split('%');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| format!("{all}%{}{}", part[..2].to_ascii_lowercase(), &part[2..]))
    };
    vec![
        ("plain", text.to_owned()),
        ("percent", percent(NON_ALPHANUMERIC)),
        ("percent, lower", lower(percent(NON_ALPHANUMERIC))),
        ("percent, component", percent(COMPONENT)),
        ("percent, slashes", percent(SLASHES_STAY)),
        ("percent, query", percent(QUERY)),
        ("percent, twice", utf8_percent_encode(&percent(COMPONENT), COMPONENT).to_string()),
        ("form", percent(COMPONENT).replace("%20", "+")),
        ("JSON", json_escaped(text)),
        ("JSON, ASCII", json_ascii(text)),
        ("JSON, twice", json_escaped(&json_escaped(text))),
        ("JSON, three times", json_escaped(&json_escaped(&json_ascii(text)))),
        ("JSON in a URL", utf8_percent_encode(&json_escaped(text), NON_ALPHANUMERIC).to_string()),
        ("URL in JSON", json_escaped(&percent(COMPONENT)).replace('/', "\\/")),
        ("debug", text.escape_debug().to_string()),
        ("unicode", text.escape_unicode().to_string()),
        ("bytes", python_bytes(text)),
        ("hex", hex(text)),
        ("HEX", hex(text).to_uppercase()),
        ("base64", STANDARD.encode(text)),
        ("base64, no padding", STANDARD_NO_PAD.encode(text)),
        ("base64, URL", URL_SAFE.encode(text)),
        ("base64, URL, no padding", URL_SAFE_NO_PAD.encode(text)),
    ]
}

/// A secret that nobody finds in a text by chance.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9]{8,40}",
        "[!-~]{8,24}",
        r#"[a-z]{3}[ -~]{6,20}["'\\/+%& ][ -~]{2,8}[A-Z]{3}"#,
        "[a-z]{3}[ -~äß€😀]{4,12}[é😀][A-Z]{4}",
        "[a-z]{20}\n[A-Za-z0-9+/]{64}\n[A-Za-z0-9+/]{40}==",
    ]
    .prop_map(|it| it.trim().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_secret_is_never_visible(secret in secret(), before in "[ -~é\n]{0,30}", after in "[ -~é\n]{0,30}") {
        let redactor = redactor(&[&secret]);
        for (name, form) in forms(&secret) {
            let text = format!("{before} {form} {after}");
            let redacted = redactor.text(&text);
            prop_assert!(!redacted.contains(&form), "{}: {} in {}", name, form, redacted);
            prop_assert!(redacted.contains("***"), "{}", name);
        }
    }

    #[test]
    fn basic_authentication_is_redacted(secret in secret(), user in "[ -~]{0,9}", after in "[ -~]{0,3}") {
        let redactor = redactor(&[&secret]);
        for engine in [&STANDARD, &URL_SAFE, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(format!("{user}:{secret}{after}"));
            let redacted = redactor.text(&encoded).into_owned();
            // What is left is the user, what follows the secret, and the mask.
            let most = (user.len() + 1) * 4 / 3 + after.len() * 4 / 3 + 2 + "***=".len();
            prop_assert!(redacted.len() <= most || secret.contains('\n'), "{} of {}", redacted, encoded);
        }
    }

    #[test]
    fn a_text_without_secrets_is_unchanged(
        secrets in prop::collection::vec("[A-Z]{6}[0-9]{6}[A-Z]{3}", 1..9),
        text in "[ -Za-z%\\\\n\"é😀]{0,200}",
    ) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        // In none of its words does the text look like a secret or a form of one.
        let text = text.replace(|it: char| it.is_ascii_uppercase(), "u").replace(|it: char| it.is_ascii_digit(), "-");
        prop_assert_eq!(redactor(&secrets).text(&text), text.as_str());
    }

    #[test]
    fn no_text_panics(secrets in prop::collection::vec(".{0,8}", 1..5), text in "(.|\\\\|%|u00e|😀|x|a){0,60}", at in 0..80usize) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let redactor = redactor(&secrets);
        let _ = redactor.text(&text);
        let cut = redactor.safe_cut(text.as_bytes(), at);
        prop_assert!(text.is_char_boundary(cut));
    }

    #[test]
    fn a_cut_divides_no_secret(secret in secret(), before in "[a-z ]{0,60}", form in 0..21usize, at in 1..400usize) {
        let redactor = redactor(&[&secret]);
        let (_, form) = forms(&secret).swap_remove(form);
        let text = format!("{before}{form}{form} and more");
        let cut = redactor.safe_cut(text.as_bytes(), at);
        prop_assert!(cut > 0);
        let divided = before.len() < cut && cut < before.len() + 2 * form.len() && cut != before.len() + form.len();
        // Of a secret of several lines, each is redacted by itself.
        prop_assert!(!divided || secret.contains('\n'), "{} of {}", cut, text);
    }
}

#[test]
fn a_key_is_redacted_line_by_line() {
    let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nBAQEFAASCBKcwggS\n-----END PRIVATE KEY-----\n";
    for given in [key.to_owned(), key.replace('\n', "\\n"), key.replace('\n', "\r\n")] {
        let redactor = redactor(&[&given]);
        assert_eq!(redactor.text("got MIIEvQIBADANBgkq"), "got ***");
        assert_eq!(redactor.text("got BAQEFAASCBKcwggS\n"), "got ***\n");
        for printed in [key.to_owned(), json_escaped(key), json_escaped(&json_escaped(key))] {
            let text = format!("{{'private_key': '{printed}'}}");
            let redacted = redactor.text(&text).into_owned();
            assert!(!redacted.contains("MIIE") && !redacted.contains("BAQE"), "{redacted}");
        }
    }
}

#[test]
fn a_long_secret_is_redacted_as_a_whole() {
    let secret: String = (0..1700).map(|it: u32| char::from(b'a' + (it * it / 7 % 26) as u8)).collect();
    let redactor = redactor(&[&secret]);
    for (name, form) in forms(&secret) {
        assert_eq!(redactor.text(&format!("[{form}]")), "[***]", "{name}");
    }
}

#[test]
fn overlapping_secrets_are_redacted_whole() {
    let redactor = redactor(&["abcdef", "defghi", "abcdefghijkl"]);
    assert_eq!(redactor.text("x abcdefghi y"), "x *** y");
    assert_eq!(redactor.text("x abcdefghijkl y"), "x *** y");
    assert_eq!(redactor.text("abcdefabcdef abcdef"), "*** ***");
}

#[test]
fn short_secrets_are_redacted_as_whole_words() {
    let redactor = redactor(&["abc", "7"]);
    assert_eq!(redactor.text("abc, abcd and \"abc\" of 7 or 77"), "***, abcd and \"***\" of *** or 77");
    let mut fields = json!({"rows": 7, "word": "abc", "text": "xabc"});
    redactor.value(&mut fields, |_| true);
    assert_eq!(fields, json!({"rows": 7, "word": "***", "text": "xabc"}));
}

#[test]
fn values_are_redacted_at_any_depth() {
    let redactor = redactor(&["s3cret-1", "123456789"]);
    let mut value: Value =
        json!({"s3cret-1": [{"a": "is s3cret-1"}], "number": 123456789, "other": 12345678, "x": true});
    redactor.value(&mut value, |_| true);
    assert_eq!(value, json!({"***": [{"a": "is ***"}], "number": "***", "other": 12345678, "x": true}));
    let mut value: Value = json!({"s3cret-1": "s3cret-1"});
    redactor.value(&mut value, |_| false);
    assert_eq!(value, json!({"s3cret-1": "***"}));
}

#[test]
fn a_percent_encoded_password_is_redacted_decoded() {
    assert_eq!(redactor(&["p%40ss%2Fword"]).text("p@ss/word"), "***");
}

#[test]
fn a_known_secret_changes_nothing() {
    let known = redactor(&["s3cret-1"]);
    assert!(known.with(vec!["s3cret-1".to_owned()]).is_none());
    assert_eq!(known.with(vec!["s3cret-2".to_owned()]).unwrap().text("s3cret-1 s3cret-2"), "*** ***");
}
