//! `streams` of shim.yaml: what is different for the streams of a name, or of a glob. Of several that fit a stream the most
//! specific one wins, option by option: its name itself, else the glob with the most characters of its own.

mod options;

use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;

use globset::{Glob, GlobMatcher};

use super::values::{Document, SchemaMode};
use crate::upstream::{Discovery, Stream, StreamId};

pub use options::{Component, CursorField, Normalizations, Normalize, StreamOptions};

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
    pub fn new(schema: SchemaMode, options: BTreeMap<String, StreamOptions>, folder: Option<&Path>) -> Result<Self> {
        let rule = |(name, mut options): (String, StreamOptions)| -> Result<Rule> {
            if let Some(document) = &options.schema {
                let what = format!("the schema of stream {name}");
                options.schema = Some(Document::Inline(document.read(folder, &what)?));
            }
            let glob = Some(&name).filter(|it| it.contains(SPECIAL)).and_then(|it| Glob::new(it).ok());
            let glob = glob.map(|it| it.compile_matcher());
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
    pub fn apply(&self, source: &dyn Discovery, stream: &mut Stream) {
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

/// What has a meaning in globs.
const SPECIAL: &[char] = &['*', '?', '[', ']', '{', '}', '!', ',', '\\'];

impl Rule {
    fn fit(&self, names: &[String]) -> Option<Fit> {
        if names.contains(&self.name) {
            return Some(Fit::Name);
        }
        let glob = self.glob.as_ref()?;
        let own = self.name.chars().filter(|it| !SPECIAL.contains(it)).count();
        names.iter().any(|it| glob.is_match(it)).then_some(Fit::Glob(own))
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
    use serde_json::{Value, json};

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
