//! The JSON Schema of shim.yaml, by which editors complete it: derived from [`ShimFile`], but for the values that read
//! themselves.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::file::ShimFile;
use super::streams::{CursorField, Normalizations, Normalize};
use super::values::{Document, Interval, OAuth2, Parallel, Size, Words};

macro_rules! schema_of {
    ($it:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $it {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema_of!(Document, "Document", { "type": ["object", "string"] });
schema_of!(OAuth2, "OAuth2", { "anyOf": [{ "type": ["object", "string"] }, { "const": false }] });
schema_of!(Words, "Words", { "type": "array", "items": { "type": "string" }, "minItems": 1 });
schema_of!(Interval, "Interval", { "type": "string", "examples": ["90s", "15m", "1h"] });
schema_of!(Parallel, "Parallel", { "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "auto" }] });
schema_of!(Size, "Size", { "type": "string", "examples": ["16MiB", "500kB"] });
schema_of!(CursorField, "CursorField", {
    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }]
});

impl JsonSchema for Normalize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Normalize".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "boolean" }, generator.subschema_for::<Normalizations>()] })
    }
}

/// `shim.schema.json` is what the code says. Run with UPDATE_SCHEMA=1 to write it anew.
#[test]
fn the_file_for_editors_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/shim.schema.json");
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(ShimFile)).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), schema, "run the tests with UPDATE_SCHEMA=1");
}
