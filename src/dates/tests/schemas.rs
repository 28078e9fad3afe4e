//! Which values are dates, by what schemas declare.

use serde_json::Map;

use super::*;

const RAW: &str = "2023-01-30 02:34:15";

/// Every `@` in the document is a date that is rewritten, every `~` one that stays.
fn check(schema: &Value, document: &str) {
    check_with(schema, &[], document);
}

fn check_with(schema: &Value, key: &[String], document: &str) {
    let given = document.replace(['@', '~'], RAW);
    let want = document.replace('@', "2023-01-30T02:34:15Z").replace('~', RAW);
    let mut dates = Stream::of(schema, Typed::Key(key), &[]);
    let got = dates.as_mut().map_or(given.clone(), |it| it.normalized(&given));
    assert_eq!(got, want, "{schema}");
    if let Some(dates) = &mut dates {
        assert_eq!(dates.rewritten(&want).as_deref().unwrap_or(&want), want);
    }
}

fn stamp() -> Value {
    json!({"type": ["null", "string"], "format": "date-time"})
}

#[test]
fn a_schema_without_dates_gives_nothing() {
    let without = [
        json!({}),
        json!(true),
        json!(null),
        json!({"properties": {"a": {"type": "string"}, "b": {"format": "time"}, "c": {"airbyte_type": "time_with_timezone"}}}),
        json!({"definitions": {"unused": stamp()}}),
        json!({"type": "string", "format": "date-time"}),
    ];
    for schema in without {
        assert!(dates(&schema).is_none(), "{schema}");
    }
}

#[test]
fn dates_are_found_at_any_depth() {
    let schema = json!({"properties": {
        "a": stamp(),
        "list": {"type": "array", "items": stamp()},
        "lists": {"items": {"items": stamp()}},
        "rows": {"items": {"properties": {"a": stamp(), "b": {"type": "string"}}}},
        "pair": {"items": [{"type": "string"}, stamp()], "additionalItems": stamp()},
        "triple": {"prefixItems": [stamp(), {}], "items": false},
        "map": {"properties": {"known": {"type": "string"}}, "additionalProperties": stamp()},
        "maps": {"additionalProperties": {"properties": {"deep": stamp()}}},
        "by_pattern": {"patternProperties": {"_at$": stamp(), "_n$": {"type": "integer"}}, "additionalProperties": {"type": "string"}},
        "naive": {"type": "string", "airbyte_type": "timestamp_without_timezone"},
        "aware": {"type": "string", "airbyte_type": "timestamp_with_timezone"},
    }});
    check(&schema, r#"{"a":"@","b":"~","c":{"a":"~"}}"#);
    check(&schema, r#"{"list":["@",null,"@",["~"],{"a":"~"}, 5]}"#);
    check(&schema, r#"{"lists":[["@"],[],["@","@"],"~"]}"#);
    check(&schema, r#"{"rows":[{"a":"@","b":"~"},{"b":"a","a":"@"}],"a":{"a":"~"}}"#);
    check(&schema, r#"{"pair":["~","@","@","@"],"triple":["@","~","~"]}"#);
    check(&schema, r#"{"map":{"known":"~","x":"@","ü/\"":"@"}}"#);
    check(&schema, r#"{"maps":{"x":{"deep":"@"},"y":{"deep":"@","x":"~"}},"deep":"~"}"#);
    check(&schema, r#"{"by_pattern":{"x_at":"@","x_n":"~","x":"~"}}"#);
    check(&schema, r#"{"naive":"@","aware":"@"}"#);
}

#[test]
fn references_and_recursion_are_followed() {
    let schema = json!({
        "$ref": "#/definitions/node",
        "definitions": {
            "node": {"properties": {
                "at": {"$ref": "#/definitions/stamp"},
                "next": {"$ref": "#/definitions/node"},
                "children": {"items": {"$ref": "#/definitions/node"}},
            }},
            "stamp": {"allOf": [{"$ref": "#/$defs/inner"}]},
        },
        "$defs": {"inner": stamp()},
    });
    check(
        &schema,
        r##"{"at":"@","next":{"at":"@","children":[{"at":"@"},{"children":[{"next":{"at":"@"}}]}],"x":{"at":"~"}}}"##,
    );
    let circle = json!({"properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}});
    assert!(dates(&circle).is_none());
}

#[test]
fn a_date_is_demanded_by_every_branch_that_can_apply() {
    let schema = json!({"properties": {
        "c": {"oneOf": [{"type": "null"}, stamp(), {"type": "object", "properties": {"d": stamp()}}]},
        "e": {"allOf": [{"type": "string"}, {"format": "date-time"}]},
        "f": {"anyOf": [{"type": "array", "items": {"oneOf": [{"type": "integer"}, stamp()]}}, stamp()]},
        "g": {"if": {"required": ["x"]}, "then": {"format": "date-time"}, "else": {"$ref": "#/properties/e"}},
        "h": {"anyOf": [stamp(), {"enum": [null]}, {"const": 5}]},
    }});
    check(&schema, r#"{"c":"@","e":"@","f":"@","g":"@","h":"@"}"#);
    check(&schema, r#"{"c":{"d":"@","c":"~"},"f":["@",7,"@"]}"#);
    let rows = json!({"oneOf": [
        {"properties": {"kind": {"const": "a"}, "at": stamp(), "a": stamp()}, "additionalProperties": false},
        {"properties": {"kind": {"const": "b"}, "at": stamp()}, "additionalProperties": false},
        {"type": "null"},
    ]});
    check(&rows, r#"{"kind":"a","at":"@","a":"@"}"#);
}

/// A phone number that only one branch calls a date is not a date.
#[test]
fn a_branch_that_does_not_mention_a_member_allows_anything() {
    let dated = json!({"properties": {"phone": stamp()}});
    let cases = [
        json!({"if": {"required": ["x"]}, "then": dated}),
        json!({"if": {"required": ["x"]}, "else": dated}),
        json!({"then": dated}),
        json!({"if": dated}),
        json!({"dependentSchemas": {"x": dated}}),
        json!({"dependencies": {"x": dated}}),
        json!({"oneOf": [dated, {"required": ["x"]}]}),
        json!({"anyOf": [dated, {"properties": {"x": {}}}]}),
        json!({"anyOf": [dated, true]}),
        json!({"anyOf": [dated, {"$ref": "#"}]}),
        json!({"anyOf": [dated, {"$ref": "elsewhere.json"}]}),
        json!({"anyOf": [dated, {"additionalProperties": {"type": "string"}}]}),
        json!({"allOf": [{"anyOf": [{"allOf": [dated]}, {}]}]}),
        json!({"not": {"not": dated}}),
        json!({"unevaluatedProperties": stamp(), "$ref": "#/$defs/a", "$defs": {"a": {"properties": {"phone": {}}}}}),
        json!({"properties": {"phone": {"anyOf": [stamp(), {"type": "string"}]}}}),
        json!({"properties": {"phone": {"not": {"format": "date-time"}}}}),
        json!({"patternProperties": {"^(?!x)": stamp()}}),
        json!({"patternProperties": {"^p": stamp(), "e$": {"type": "string"}}}),
    ];
    for schema in cases {
        for value in ["1234567890", r#""1234567890""#, r#""2023-01-30 02:34:15""#] {
            let document = format!(r#"{{"phone":{value}}}"#);
            let got = dates(&schema).map_or(document.clone(), |mut it| it.normalized(&document));
            assert_eq!(got, document, "{schema}");
        }
    }
    let lists =
        [json!({"contains": stamp()}), json!({"unevaluatedItems": stamp()}), json!({"prefixItems": [{}, stamp()]})];
    for schema in lists {
        check(&at(&schema), r#"{"at":["~"]}"#);
    }
}

/// A rewrite must not violate a restriction that the value satisfies.
#[test]
fn a_restricted_text_stays() {
    let restricted = [
        json!({"format": "date-time", "pattern": " "}),
        json!({"format": "date-time", "maxLength": 19}),
        json!({"format": "date-time", "enum": [RAW]}),
        json!({"format": "date-time", "not": {"pattern": "T"}}),
        json!({"format": "date-time", "if": {"maxLength": 19}, "else": false}),
        json!({"format": "date-time", "$dynamicRef": "#x"}),
    ];
    for schema in restricted {
        check(&at(&schema), r#"{"at":"~"}"#);
    }
    check(&at(&json!({"items": stamp(), "uniqueItems": true})), r#"{"at":["~","2023-01-30T02:34:15Z"]}"#);
    check(&at(&json!({"items": stamp(), "const": [RAW]})), r#"{"at":["~"]}"#);
    check(&json!({"properties": {"at": stamp()}, "not": {"required": ["x"]}}), r#"{"at":"@"}"#);
}

/// Numbers stay where a branch that can apply allows them.
#[test]
fn numbers_of_other_branches_stay() {
    let one_of = |it: Value| at(&json!({"oneOf": [it, stamp()]}));
    let (string, date) = (r#""1675045055""#, r#""2023-01-30T02:17:35Z""#);
    let cases = [
        (one_of(json!({"type": "integer"})), "1675045055", "1675045055"),
        (one_of(json!({"type": "integer"})), string, date),
        (one_of(json!({"type": "string"})), string, string),
        (one_of(json!({"type": "string"})), "1675045055", "1675045055"),
        (one_of(json!({"type": "integer", "format": "date-time"})), "1675045055", date),
        (at(&json!({"type": ["integer", "string"], "format": "date-time"})), "1675045055", date),
        (at(&json!({"type": "integer", "format": "date-time"})), "1675045055", date),
        (
            json!({"properties": {"at": {"format": "date-time"}}, "dependentSchemas": {"x": {"properties": {"at": {"type": "integer"}}}}}),
            "1675045055",
            "1675045055",
        ),
    ];
    for (schema, value, becomes) in cases {
        let document = format!(r#"{{"at":{value}}}"#);
        let got = dates(&schema).map_or(document.clone(), |mut it| it.normalized(&document));
        assert_eq!(got, format!(r#"{{"at":{becomes}}}"#), "{schema}");
    }
}

/// Where the collection's schema has the declared types.
#[test]
fn typed_values_keep_their_type() {
    let key = ["/at".to_owned()];
    for (types, becomes) in [
        (json!("integer"), "1675045055"),
        (json!(["integer", "string"]), r#""2023-01-30T02:17:35Z""#),
        (json!("string"), r#""2023-01-30T02:17:35Z""#),
    ] {
        let schema = at(&json!({"type": types, "format": "date-time"}));
        for typed in [Typed::Key(&key), Typed::All] {
            let mut dates = Stream::of(&schema, typed, &[]).unwrap();
            assert_eq!(dates.normalized(r#"{"at":1675045055}"#), format!(r#"{{"at":{becomes}}}"#));
        }
    }
    check_with(&json!({"properties": {"id": {}, "at": stamp()}}), &["/id".to_owned()], r#"{"id":"~","at":"@"}"#);
}

#[test]
fn cut_dates_need_no_declaration() {
    let schema = json!({"properties": {"properties": {"properties": {"a": stamp()}}}});
    let cut = ["/properties/hs~1at", "/properties/a", "nowhere", ""].map(str::to_owned);
    let mut dates = Stream::of(&schema, Typed::Key(&[]), &cut).unwrap();
    let given =
        r#"{"properties":{"hs/at":"2023-01-30T02:34:15Z","a":"2023-01-30 02:34:15"},"a":"2023-01-30T02:34:15Z"}"#;
    let want = r#"{"properties":{"hs/at":"2023-01-30","a":"2023-01-30"},"a":"2023-01-30T02:34:15Z"}"#;
    assert_eq!(dates.normalized(given), want);
    assert!(Stream::of(&schema, Typed::Key(&[]), &["/b".to_owned()]).is_some());
    assert!(Stream::of(&json!({}), Typed::Key(&[]), &["/b".to_owned()]).is_some());
}

#[test]
fn any_name_is_found() {
    for name in ["a b", "ä", "a\"b", "a/b", "a\\", ",", ":", "", "\u{1}", "at:b", "a\u{7f}", "日付", "true"] {
        let schema = json!({"properties": {name: stamp(), "b": {"type": "string"}}});
        for written in [serde_json::to_string(name).unwrap(), escaped(name)] {
            check(&schema, &format!(r#"{{"b":{written},{written}:"@","c":[{written},{written}],{written} : "@"}}"#));
        }
    }
}

fn escaped(name: &str) -> String {
    let escape = |unit: u16| format!("\\u{unit:04x}");
    format!("\"{}\"", name.encode_utf16().map(escape).collect::<String>())
}

/// The same name, declared differently in different objects.
#[test]
fn one_name_in_several_objects() {
    let schema = json!({"properties": {
        "at": stamp(),
        "a": {"properties": {"at": {"type": "string", "format": "date"}}},
        "b": {"properties": {"at": {"type": "string"}}},
        "c": {"properties": {"at": {"items": stamp()}}},
    }});
    check(&schema, r#"{"at":"@","a":{"at":"2023-01-30"},"b":{"at":"~"},"c":{"at":["@"]}}"#);
    check(&schema, r#"{"b":{"at":"2023-01-30"},"c":{"at":["2023-01-30T00:00:00Z","@"]}}"#);
    check(&schema, r#"{"at":"2023-01-30T00:00:00Z","c":{"at":["2023-01-30T00:00:00Z"]}}"#);
}

#[test]
fn any_depth_is_traversed() {
    let schema = json!({"properties": {"at": stamp(), "next": {"items": {"$ref": "#"}}}});
    let mut dates = dates(&schema).unwrap();
    let (open, close) = (r#"{"next":["#.repeat(20_000), "]}".repeat(20_000));
    let given = format!(r#"{open}{{"at":"{RAW}"}}{close}"#);
    assert_eq!(dates.normalized(&given), given.replace(RAW, "2023-01-30T02:34:15Z"));
}

#[test]
fn many_names_are_watched() {
    for count in [1, 31, 200, 5000] {
        let names: Vec<String> = (0..count).map(|it| format!("{it}")).collect();
        let properties: Map<String, Value> = names.iter().map(|it| (it.clone(), stamp())).collect();
        let schema = json!({"properties": properties});
        let document = |value: &str| {
            let members: Vec<String> = names.iter().map(|it| format!(r#""{it}":"{value}""#)).collect();
            format!("{{{}}}", members.join(","))
        };
        check(&schema, &document("@"));
        assert_eq!(dates(&schema).unwrap().is_right(&document("2023-01-30T02:34:15Z")), count < 5000);
    }
}

#[test]
fn work_is_limited_for_alternatives_that_multiply() {
    let branches: Vec<Value> = (0..40)
        .map(|it| json!({"properties": {format!("a{it}"): {"$ref": "#/definitions/all"}, format!("b{}", it / 2): {"$ref": "#"}}}))
        .collect();
    let schema = json!({"definitions": {"all": {"oneOf": branches}}, "anyOf": branches, "properties": {"at": stamp()}});
    check(&schema, r#"{"at":"@"}"#);
}
