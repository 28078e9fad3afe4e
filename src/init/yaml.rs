//! Writes JSON values as readable YAML, quoting strings that YAML would parse as another type.

use serde_json::Value;

use crate::terminal::figures::wrapped;

/// The maximum length of a line; longer values are split over several lines.
const WIDTH: usize = 100;

/// Words that some YAML parsers do not read as strings.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// A string as a scalar: plain if that is unambiguous, otherwise in double quotes.
pub fn text(it: &str) -> String {
    if is_plain(it) {
        return it.to_owned();
    }
    let mut quoted = String::from('"');
    for character in it.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            ' '..='~' => quoted.push(character),
            '\u{a0}'.. if is_printable(character) => quoted.push(character),
            _ => quoted += &format!("\\U{:08X}", u32::from(character)),
        }
    }
    quoted.push('"');
    quoted
}

fn is_plain(it: &str) -> bool {
    // Command line options need no quotes.
    let it = it.strip_prefix("--").unwrap_or(it);
    it.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '_' | '/'))
        && it.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '.' | '/'))
        && !WORDS.iter().any(|word| it.eq_ignore_ascii_case(word))
        && it.parse::<f64>().is_err()
}

/// Whether a character can be written as it is. Line separators, byte order marks and noncharacters are escaped.
fn is_printable(it: char) -> bool {
    !matches!(it, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A value on one line.
pub fn flow(value: &Value) -> String {
    match value {
        Value::String(it) => text(it),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, it)| format!("{}: {}", text(name), flow(it))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        other => other.to_string(),
    }
}

/// `name: value` at this indentation: on one line if short and flat, otherwise as a block.
pub fn member(lines: &mut Vec<String>, indent: usize, name: &str, value: &Value) {
    let space = " ".repeat(indent);
    let line = format!("{space}{}: {}", text(name), flow(value));
    match value {
        Value::Object(members) if !members.is_empty() && (line.len() > WIDTH || !is_flat(value)) => {
            lines.push(format!("{space}{}:", text(name)));
            for (name, value) in members {
                member(lines, indent + 2, name, value);
            }
        }
        Value::Array(items) if line.len() > WIDTH => {
            lines.push(format!("{space}{}:", text(name)));
            lines.extend(items.iter().map(|it| format!("{space}  - {}", flow(it))));
        }
        _ => lines.push(line),
    }
}

fn is_flat(value: &Value) -> bool {
    value.as_object().is_none_or(|members| members.values().all(|it| !it.is_object()))
}

/// A comment, wrapped, without characters that YAML does not allow there.
pub fn comment(lines: &mut Vec<String>, indent: usize, remark: &str) {
    let space = " ".repeat(indent);
    let remark = remark.replace(|it: char| !it.is_whitespace() && (it.is_control() || !is_printable(it)), "");
    lines.extend(wrapped(&remark, WIDTH.saturating_sub(indent)).into_iter().map(|it| format!("{space}# {it}")));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let texts = prop_oneof![
            any::<String>(),
            "[a-z/_.-]{0,6}",
            "[-0-9.eE_:x]{1,6}",
            "[ #:,\\[\\]{}&*!|>'\"%@`?-]{0,4}",
            "(true|No|NULL|~|inf|\\.nan|2024-01-02|a: b|a #b|- a|\u{85}|\u{2028}|\u{feff}a|\u{7f})"
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            texts.prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|it| it.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_survive_a_yaml_parser(value in values(), remark in any::<String>()) {
            let mut lines = Vec::new();
            comment(&mut lines, 2, &remark);
            member(&mut lines, 2, "a", &value);
            let read: Value = serde_saphyr::from_str(&(lines.join("\n") + "\n")).expect("YAML");
            prop_assert_eq!(read, json!({"a": value}));
        }
    }

    #[test]
    fn values_are_readable() {
        let value = json!({
            "key": ["/id", "/_meta/row_id"], "image": "airbyte/source-x:1.2", "empty": {}, "on": "on", "port": 5432,
            "schema": {"type": "object", "properties": {"id": {"type": "integer"}, "it's": {"title": "Not: \"plain\"\n"}}},
        });
        let mut lines = Vec::new();
        comment(
            &mut lines,
            0,
            "A comment that is longer than one line may be is wrapped between words and continues on the following lines.",
        );
        member(&mut lines, 0, "root", &value);
        insta::assert_snapshot!(lines.join("\n"));
    }
}
