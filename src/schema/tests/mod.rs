//! The rewriter, held against Flow's rules: by cases, by random schemas, and by what real sources
//! print.

mod cases;
mod checker;
mod corpus;
mod random;

/// People read these lines in `inspect`.
#[test]
fn changes_read_well() {
    let schema = serde_json::json!({
        "type": ["null", "object"],
        "tittle": "x",
        "properties": {
            "a/b": {"type": "string", "pattern": "^(?!no)\\w+\n$", "order": "first"},
            "c": {"$ref": "other.json"},
        },
    });
    let lines: Vec<String> = super::config(&schema).changes.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    /tittle: unknown-keyword: not a keyword of Flow, dropped (tittle)
    /properties/a~1b/pattern: pattern-dropped: pattern doesn't compile, dropped (^(?!no)\w+ $)
    /properties/a~1b/order: bad-value: value doesn't fit the keyword, dropped (order)
    /properties/c/$ref: external-ref-dropped: reference to another document, dropped (other.json)
    (root): root-made-object: root type is exactly `object`
    ");
}
