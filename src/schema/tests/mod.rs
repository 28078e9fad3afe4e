//! Tests of the rewriter against Flow's rules: by cases, with random schemas, and with the schemas of real sources.

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

/// Flow's formats are kept; others are dropped.
#[test]
fn formats_of_flow_are_kept() {
    let known = "date date-time time email hostname idn-email idn-hostname ipv4 ipv6 macaddr macaddr8 uuid duration uri \
        uri-reference uri-template iri iri-reference json-pointer relative-json-pointer regex integer uint32 uint64 number sha256";
    let kept = |format: &str| {
        let schema = serde_json::json!({"type": "object", "properties": {"a": {"format": format}}});
        super::config(&schema).schema == schema
    };
    for format in known.split_whitespace() {
        assert!(kept(format), "{format}");
    }
    for format in ["datetime", "int32", "int64", "float", "double", "password", "byte", "timestamp", "Date", ""] {
        assert!(!kept(format), "{format}");
    }
}

/// Flow's annotations are kept if their values are valid, and dropped if not.
#[test]
fn annotations_of_flow_are_kept() {
    let property = serde_json::json!({
        "type": "string", "nullable": true, "example": 1, "reduce": {"strategy": "lastWriteWins"},
        "redact": {"strategy": "sha256"}, "secret": true, "airbyte_secret": false, "multiline": true, "advanced": true,
        "order": -2_147_483_648, "discriminator": {"propertyName": "a"}, "x-anything": [], "contentEncoding": "base64",
        "contentMediaType": "text/plain", "contentSchema": {}, "deprecated": true, "readOnly": true, "writeOnly": false,
    });
    let schema = |it: &serde_json::Value| serde_json::json!({"type": "object", "properties": {"a": it}});
    assert_eq!(super::config(&schema(&property)).schema, schema(&property));
    for (keyword, value) in [
        ("order", serde_json::json!(2_147_483_648_u64)),
        ("order", serde_json::json!(1.5)),
        ("redact", serde_json::json!("sha256")),
        ("discriminator", serde_json::json!("a")),
        ("contentMediaType", serde_json::json!(1)),
        ("multiline", serde_json::json!("yes")),
        ("airbyte_hidden", serde_json::json!(true)),
        ("group", serde_json::json!("auth")),
    ] {
        let mut property = serde_json::json!({"type": "string"});
        let want = schema(&property);
        property[keyword] = value;
        assert_eq!(super::config(&schema(&property)).schema, want, "{keyword}");
    }
}
