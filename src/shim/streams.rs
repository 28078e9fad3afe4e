//! `streams` of shim.yaml: what is different for the streams of a name, or of a glob. Of several that fit a stream the most
//! specific one wins, option by option: its name itself, else the glob with the most characters of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::file::SchemaMode;
use super::values::Document;
use crate::failure::Failure;
use crate::json::merge::merge;
use crate::json::pointer;
use crate::schema;
use crate::source::{Source, Stream, StreamId};

/// What shim.yaml says under one name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StreamOptions {
    /// The collection's key, in place of the source's: JSON pointers into its documents. Of no component at all: the row id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<Component>>,
    /// An RFC 7396 merge patch for the stream's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Document>,
    /// Discovered, but not captured unless the user says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable: Option<bool>,
    /// Not discovered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omit: Option<bool>,
    /// The field by which the source finds what is new: a name, or the names that lead to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor_field: Option<CursorField>,
    /// What becomes of dates; `false`: they stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<Normalize>,
}

/// A component of a key: `/id`, or `id` for short.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Component(String);

impl Component {
    pub fn new(pointer: &str) -> Self {
        Self(if pointer.starts_with('/') { pointer.to_owned() } else { format!("/{pointer}") })
    }

    fn path(&self) -> Vec<String> {
        pointer::steps(&self.0)
    }
}

impl<'de> Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

/// `updated_at`, or `[meta, updated_at]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CursorField(Vec<String>);

impl<'de> Deserialize<'de> for CursorField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = match Value::deserialize(deserializer)? {
            Value::String(name) => Some(vec![name]),
            Value::Array(names) => names.iter().map(|it| it.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let path = path.filter(|it: &Vec<String>| !it.is_empty());
        path.map(Self).ok_or_else(|| de::Error::custom("expected the name of a field, or the names that lead to it"))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Normalize {
    Never,
    Given(Normalizations),
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Normalizations {
    /// Where in the documents a date-time is cut to its date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Vec<Component>>,
    /// What the source declares as dates are date-times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_to_date_time: Option<bool>,
}

impl<'de> Deserialize<'de> for Normalize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = Normalize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, or an object with cut and dateToDateTime")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Normalize, E> {
                Ok(if on { Normalize::Given(Normalizations::default()) } else { Normalize::Never })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Normalize, A::Error> {
                Normalizations::deserialize(de::value::MapAccessDeserializer::new(map)).map(Normalize::Given)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for Normalize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => false.serialize(serializer),
            Self::Given(it) => it.serialize(serializer),
        }
    }
}

impl StreamOptions {
    /// Takes over what `other` says.
    fn overlay(&mut self, other: &Self) {
        fn set<T: Clone>(mine: &mut Option<T>, other: &Option<T>) {
            if other.is_some() {
                mine.clone_from(other);
            }
        }
        set(&mut self.key, &other.key);
        set(&mut self.schema, &other.schema);
        set(&mut self.disable, &other.disable);
        set(&mut self.omit, &other.omit);
        set(&mut self.cursor_field, &other.cursor_field);
        match (&mut self.normalize, &other.normalize) {
            (Some(Normalize::Given(mine)), Some(Normalize::Given(other))) => {
                set(&mut mine.cut, &other.cut);
                set(&mut mine.date_to_date_time, &other.date_to_date_time);
            }
            (mine, other) => set(mine, other),
        }
    }

    /// What the source declares of a stream, changed as wished.
    pub fn change(&self, schema: &mut Value, key: &mut Vec<Vec<String>>) {
        if let Some(Document::Inline(patch)) = &self.schema {
            merge(schema, patch.clone());
        }
        if let Some(Normalize::Given(Normalizations { date_to_date_time: Some(true), .. })) = &self.normalize {
            schema::date_to_date_time(schema);
        }
        if let Some(wanted) = &self.key {
            // The row id is what there is without any key.
            *key = wanted.iter().map(Component::path).filter(|it| it[..] != ["_meta", "row_id"]).collect();
        }
    }

    pub fn is_disabled(&self) -> bool {
        self.disable == Some(true)
    }

    pub fn is_omitted(&self) -> bool {
        self.omit == Some(true)
    }
}

/// All that shim.yaml says of streams.
#[derive(Default)]
pub struct StreamRules {
    /// Where discovered collections have their schemas from.
    pub schema: SchemaMode,
    rules: Vec<Rule>,
}

struct Rule {
    name: String,
    /// None where the name can be nothing but a name.
    glob: Option<GlobMatcher>,
    options: StreamOptions,
}

impl StreamRules {
    /// Reads the files that they name.
    pub fn new(
        schema: SchemaMode,
        options: BTreeMap<String, StreamOptions>,
        folder: Option<&Path>,
    ) -> Result<Self, Failure> {
        let rule = |(name, mut options): (String, StreamOptions)| -> Result<Rule, Failure> {
            if let Some(document) = &options.schema {
                let what = format!("the schema of stream {name}");
                options.schema = Some(Document::Inline(document.read(folder, &what)?));
            }
            let glob = Glob::new(&name).ok().map(|it| it.compile_matcher());
            Ok(Rule { name, glob, options })
        };
        Ok(Self { schema, rules: options.into_iter().map(rule).collect::<Result<_, _>>()? })
    }

    /// What goes for one stream.
    pub fn of(&self, id: &StreamId) -> StreamOptions {
        let names = names(id);
        let mut fitting: Vec<(Fit, &StreamOptions)> =
            self.rules.iter().filter_map(|it| Some((it.fit(&names)?, &it.options))).collect();
        fitting.sort_by_key(|(fit, _)| *fit);
        let mut options = StreamOptions::default();
        fitting.into_iter().for_each(|(_, it)| options.overlay(it));
        options
    }

    /// The stream as Flow is to see it.
    pub fn apply(&self, source: &dyn Source, stream: &mut Stream) {
        let options = self.of(&stream.id);
        options.change(&mut stream.schema, &mut stream.key);
        if let Some(CursorField(path)) = &options.cursor_field {
            source.choose_cursor(stream, path);
        }
    }

    /// Names and globs that fit none of these streams.
    pub fn unused<'a>(&'a self, streams: &[Stream]) -> Vec<&'a str> {
        let names: Vec<_> = streams.iter().map(|it| names(&it.id)).collect();
        let is_unused = |rule: &&Rule| names.iter().all(|it| rule.fit(it).is_none());
        self.rules.iter().filter(is_unused).map(|it| it.name.as_str()).collect()
    }
}

/// How well a rule fits: the better one is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// How many characters of the glob stand for themselves.
    Glob(usize),
    Name,
}

impl Rule {
    fn fit(&self, names: &[String]) -> Option<Fit> {
        if names.contains(&self.name) {
            return Some(Fit::Name);
        }
        let own = self.name.chars().filter(|it| !"*?[]{}!,\\".contains(*it)).count();
        let fits = names.iter().any(|it| self.glob.as_ref().is_some_and(|glob| glob.is_match(it)));
        fits.then_some(Fit::Glob(own))
    }
}

/// What a stream may be called.
fn names(id: &StreamId) -> [String; 3] {
    [id.to_string(), id.name.clone(), file_name(&id.name)]
}

/// A stream's name as the older wrapper's files have it (overlays.md).
fn file_name(name: &str) -> String {
    let is_kept = |it: &char| it.is_alphanumeric() || "-._".contains(*it);
    let parts = name.split('/').map(|part| part.chars().filter(is_kept).collect::<String>());
    parts.filter(|it| !it.is_empty()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(yaml: &str) -> StreamRules {
        StreamRules::new(SchemaMode::Inferred, serde_saphyr::from_str(yaml).unwrap(), None).unwrap()
    }

    fn of(rules: &StreamRules, namespace: Option<&str>, name: &str) -> Value {
        let id = StreamId { namespace: namespace.map(str::to_owned), name: name.to_owned() };
        serde_json::to_value(rules.of(&id)).unwrap()
    }

    #[test]
    fn the_most_specific_name_wins_option_by_option() {
        let rules = rules(
            "'*': {disable: true, key: [a], normalize: {dateToDateTime: true}}\n\
             report_*: {key: [b], omit: true}\n\
             report_daily: {disable: false, normalize: {cut: [/day]}}\n\
             shop/orders: {key: [/order/id]}\n\
             odd[name: {omit: true}\n\
             Page_Views: {omit: true}\n",
        );
        let everywhere = json!({"key": ["/a"], "disable": true, "normalize": {"dateToDateTime": true}});
        for (namespace, name, want) in [
            (None, "users", everywhere.clone()),
            (
                None,
                "report_daily",
                json!({"key": ["/b"], "disable": false, "omit": true, "normalize": {"cut": ["/day"], "dateToDateTime": true}}),
            ),
            (
                None,
                "report_weekly",
                json!({"key": ["/b"], "disable": true, "omit": true, "normalize": {"dateToDateTime": true}}),
            ),
            (
                Some("shop"),
                "orders",
                json!({"key": ["/order/id"], "disable": true, "normalize": {"dateToDateTime": true}}),
            ),
            (Some("else"), "orders", everywhere.clone()),
            (
                None,
                "odd[name",
                json!({"key": ["/a"], "disable": true, "omit": true, "normalize": {"dateToDateTime": true}}),
            ),
            (
                None,
                "/Page_ Views",
                json!({"key": ["/a"], "disable": true, "omit": true, "normalize": {"dateToDateTime": true}}),
            ),
        ] {
            assert_eq!(of(&rules, namespace, name), want, "{name}");
        }
    }

    #[test]
    fn names_are_cleaned_as_the_older_wrapper_cleaned_them() {
        for (name, want) in
            [("a b/c", "ab/c"), ("/a//b/", "a/b"), ("x-1._y", "x-1._y"), ("über:alles", "überalles"), ("$/a", "a")]
        {
            assert_eq!(file_name(name), want);
        }
    }
}
