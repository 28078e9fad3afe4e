//! YAML 1.2, as Flow reads configs and specs: `no`, `0123` and `1_000` are texts.

use anyhow::{Result, anyhow};
use serde_json::Value;
use serde_saphyr::Error;

/// The error is in our own words: the parser quotes what it reads.
pub fn value(text: &str) -> Result<Value> {
    let options = serde_saphyr::options! {
        // A Flow spec has many collections, which share the same few anchors. Nesting and what aliases expand to stay limited.
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_aliases: usize::MAX,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 10_000_000 },
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let reason = match error.without_snippet() {
            Error::DuplicateMappingKey { .. } => "a name occurs twice in an object",
            Error::MultipleDocuments { .. } => "a second document begins here",
            Error::NonFiniteFloat { .. } => "JSON has no such number",
            Error::UnknownAnchor { .. } => "there is no such anchor",
            Error::Budget { .. } | Error::AliasError { .. } | Error::AliasReplayLimitExceeded { .. } => {
                "what its aliases stand for is too large, or it is nested too deeply"
            }
            _ => "its structure is broken",
        };
        match error.location() {
            Some(at) => anyhow!("{reason} (line {}, column {})", at.line(), at.column()),
            None => anyhow!(reason),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_read_as_flow_reads_it() {
        let text = "country: NO\nanswer: yes\nzip: 01234\nlarge: 1_000\nhex: 0x10\non: [off, y, True, ~, '1']\n\
                    base: &base {a: 1}\nmerged: {<<: *base, b: 2}\n";
        let wanted = serde_json::json!({
            "country": "NO", "answer": "yes", "zip": "01234", "large": "1_000", "hex": 16, "on": ["off", "y", true, null, "1"],
            "base": {"a": 1}, "merged": {"a": 1, "b": 2},
        });
        assert_eq!(value(text).unwrap(), wanted);
    }

    #[test]
    fn large_specs_are_read_and_bombs_are_not() {
        let list = |item: &str, count: usize| format!("x: &x {{a: 1}}\nlist: [{}]\n", vec![item; count].join(", "));
        assert_eq!(value(&list("*x", 1000)).unwrap()["list"][999], serde_json::json!({"a": 1}));
        assert_eq!(value(&list("{a: 1}", 200_000)).unwrap()["list"].as_array().map(Vec::len), Some(200_000));
        let levels = (1..9).map(|it| format!("a{it}: &a{it} [{}]\n", vec![format!("*a{}", it - 1); 10].join(", ")));
        let bomb = "a0: &a0 [x]\n".to_owned() + &levels.collect::<String>();
        let deep = "[".repeat(100_000);
        let errors = [bomb, deep].map(|it| value(&it).unwrap_err().to_string());
        assert!(errors[0].starts_with("what its aliases stand for is too large"), "{errors:?}");
    }
}
