//! `streams` of shim.yaml: options for the streams of a name or a glob. If several rules fit a stream, the most specific
//! one wins, option by option: the name itself, else the glob with the most literal characters.

mod effect;
mod options;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use globset::{Glob, GlobSet, GlobSetBuilder};

use super::values::{Document, SchemaMode};
use crate::upstream::StreamId;

pub use options::{Component, CursorField, Normalizations, Normalize, StreamOptions};

/// What shim.yaml says about streams.
#[derive(Default)]
pub struct StreamRules {
    /// Where discovered collections have their schemas from.
    pub schema: SchemaMode,
    rules: Vec<Rule>,
    /// The index of each rule by its name: a glob may be the literal name of a stream.
    names: HashMap<String, usize>,
    globs: GlobSet,
    /// The index of the rule of each glob.
    glob_rules: Vec<usize>,
    /// Streams have the same options each time they are asked for.
    resolved: Mutex<HashMap<StreamId, Arc<StreamOptions>>>,
}

struct Rule {
    name: String,
    options: StreamOptions,
}

impl StreamRules {
    /// Reads the files that the rules name.
    pub fn new(schema: SchemaMode, options: BTreeMap<String, StreamOptions>, folder: Option<&Path>) -> Result<Self> {
        let (mut rules, mut names, mut glob_rules) = (Vec::new(), HashMap::new(), Vec::new());
        let mut globs = GlobSetBuilder::new();
        for (name, mut options) in options {
            if let Some(document) = &options.schema {
                let what = format!("the schema of stream {name}");
                options.schema = Some(Document::Inline(document.read(folder, &what)?));
            }
            // What is not a valid glob can only be a name.
            if name.contains(SPECIAL)
                && let Ok(glob) = Glob::new(&name)
            {
                globs.add(glob);
                glob_rules.push(rules.len());
            }
            names.insert(name.clone(), rules.len());
            rules.push(Rule { name, options });
        }
        let globs = globs.build().context("the globs of `streams` can't be used")?;
        Ok(Self { schema, rules, names, globs, glob_rules, resolved: Mutex::default() })
    }

    /// The options of one stream.
    pub fn of(&self, id: &StreamId) -> Arc<StreamOptions> {
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(options) = resolved.get(id) {
            return options.clone();
        }
        let mut fitting = self.fitting(id);
        fitting.sort_unstable();
        let mut options = StreamOptions::default();
        fitting.into_iter().for_each(|(_, index)| options.overlay(&self.rules[index].options));
        let options = Arc::new(options);
        resolved.insert(id.clone(), options.clone());
        options
    }

    /// The rules that fit a stream: how well each fits, and its index.
    fn fitting(&self, id: &StreamId) -> Vec<(Fit, usize)> {
        let names = names(id);
        let mut fitting: Vec<(Fit, usize)> =
            names.iter().filter_map(|it| self.names.get(it)).map(|index| (Fit::Name, *index)).collect();
        for name in &names {
            for glob in self.globs.matches(name) {
                let index = self.glob_rules[glob];
                if !fitting.iter().any(|(_, it)| *it == index) {
                    let own = self.rules[index].name.chars().filter(|it| !SPECIAL.contains(it)).count();
                    fitting.push((Fit::Glob(own), index));
                }
            }
        }
        fitting
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// How well a rule fits: the better one is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// How many characters of the glob stand for themselves.
    Glob(usize),
    Name,
}

/// Characters with a meaning in globs.
const SPECIAL: &[char] = &['*', '?', '[', ']', '{', '}', '!', ',', '\\'];

/// The names by which a rule may mean a stream.
fn names(id: &StreamId) -> [String; 3] {
    [id.to_string(), id.name.clone(), file_name(&id.name)]
}

/// A stream's name as airbyte-to-flow's files have it (docs/airbyte-to-flow.md).
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
        serde_json::to_value(rules.of(&id).as_ref()).unwrap()
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
    fn names_are_cleaned_as_airbyte_to_flow_cleaned_them() {
        for (name, want) in
            [("a b/c", "ab/c"), ("/a//b/", "a/b"), ("x-1._y", "x-1._y"), ("über:alles", "überalles"), ("$/a", "a")]
        {
            assert_eq!(file_name(name), want);
        }
    }
}
