//! The allow-list: the keywords that Flow's schema parser knows, and the values that each accepts.

/// The kind of value that a keyword accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Data, which is not rewritten.
    Any,
    Text,
    Flag,
    /// A flag that marks a secret. Every value that may mean true becomes true, so that no secret is shown.
    SecretFlag,
    /// An unsigned integer, without a fraction, even `.0`.
    Count,
    Number,
    /// Of `multipleOf`.
    Step,
    Int32,
    List,
    NonEmptyList,
    Object,
    /// Flow's extension: an object with the name of a strategy.
    Strategy,
    Types,
    Format,
    Pattern,
    Names,
    NamesMap,
    Schema,
    Schemas,
    SchemaMap,
    PatternMap,
    Ref,
    Id,
    Anchor,
    Dialect,
}

/// The values that a keyword accepts; none if Flow does not know the keyword.
pub(super) fn takes(keyword: &str) -> Option<Takes> {
    use Takes::*;
    Some(match keyword {
        "const" | "default" | "example" => Any,
        "$comment" | "title" | "description" | "contentEncoding" | "contentMediaType" | "$dynamicRef"
        | "$recursiveRef" => Text,
        "$recursiveAnchor" | "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" | "nullable" | "multiline"
        | "advanced" => Flag,
        "secret" | "airbyte_secret" => SecretFlag,
        "maxLength" | "minLength" | "maxItems" | "minItems" | "maxContains" | "minContains" | "maxProperties"
        | "minProperties" => Count,
        "maximum" | "exclusiveMaximum" | "minimum" | "exclusiveMinimum" => Number,
        "multipleOf" => Step,
        "order" => Int32,
        "examples" => List,
        "enum" => NonEmptyList,
        "$vocabulary" | "discriminator" => Object,
        "reduce" | "redact" => Strategy,
        "type" => Types,
        "format" => Format,
        "pattern" => Pattern,
        "required" => Names,
        "dependentRequired" => NamesMap,
        "items"
        | "additionalItems"
        | "unevaluatedItems"
        | "contains"
        | "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contentSchema" => Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Schemas,
        "$defs" | "definitions" | "dependentSchemas" | "properties" => SchemaMap,
        "patternProperties" => PatternMap,
        "$ref" => Ref,
        "$id" => Id,
        "$anchor" | "$dynamicAnchor" => Anchor,
        "$schema" => Dialect,
        _ if keyword.starts_with("x-") => Any,
        _ => return None,
    })
}

/// Whether a keyword is an annotation: a schema without it accepts the same documents.
pub(super) fn is_annotation(keyword: &str) -> bool {
    matches!(
        keyword,
        "$comment"
            | "title"
            | "description"
            | "default"
            | "deprecated"
            | "readOnly"
            | "writeOnly"
            | "example"
            | "examples"
            | "secret"
            | "airbyte_secret"
            | "multiline"
            | "advanced"
            | "order"
            | "discriminator"
            | "reduce"
            | "redact"
            | "contentEncoding"
            | "contentMediaType"
            | "contentSchema"
            | "$vocabulary"
            | "$schema"
            | "$id"
            | "$defs"
            | "definitions"
    )
}

pub(super) fn is_format(format: &str) -> bool {
    matches!(
        format,
        "date"
            | "date-time"
            | "time"
            | "email"
            | "hostname"
            | "idn-email"
            | "idn-hostname"
            | "ipv4"
            | "ipv6"
            | "macaddr"
            | "macaddr8"
            | "uuid"
            | "duration"
            | "iri"
            | "uri"
            | "iri-reference"
            | "uri-reference"
            | "uri-template"
            | "json-pointer"
            | "relative-json-pointer"
            | "regex"
            | "integer"
            | "uint32"
            | "uint64"
            | "number"
            | "sha256"
    )
}

pub(super) fn is_type(name: &str) -> bool {
    matches!(name, "null" | "boolean" | "object" | "array" | "integer" | "number" | "string")
}
