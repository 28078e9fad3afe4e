//! What the page shows of a manifest without running it: its problems with their lines, its streams, its config form.

use std::collections::HashMap;

use granit_parser::{Event, Parser};
use serde::Serialize;
use serde_json::Value;

use super::problems::{self, ComponentSchema, Resolved};
use crate::inspect::config::{self, Field};
use crate::json::pointer;
use crate::oauth::{self, Declaration, Derived, OAuthSetting};
use crate::upstream::Spec;

/// Something wrong with a manifest.
#[derive(Debug, PartialEq, Serialize)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    pub message: String,
}

/// A manifest that can be parsed.
pub struct Manifest {
    pub value: Value,
    /// The line of each value, by JSON pointer.
    lines: HashMap<String, usize>,
    resolved: Resolved,
}

/// What the page shows.
#[derive(Serialize)]
pub struct Outline {
    /// None if it can't be parsed.
    manifest: Option<Value>,
    problems: Vec<Problem>,
    streams: Vec<StreamOutline>,
    /// The manifest has templates of streams, which are asked for at the API.
    has_dynamic_streams: bool,
    fields: Vec<Field>,
    title: Option<String>,
    documentation_url: Option<String>,
    has_custom_code: bool,
    sign_in: Option<SignIn>,
}

#[derive(Serialize)]
struct StreamOutline {
    name: String,
    primary_key: Vec<String>,
    is_incremental: bool,
    line: usize,
}

/// The sign-in that the manifest's spec declares.
#[derive(Serialize)]
struct SignIn {
    provider: String,
    /// Why it is not possible.
    missing: Option<String>,
}

impl Manifest {
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let lines = lines(text)?;
        let value: Value = serde_saphyr::from_str(text).map_err(|error| Problem {
            line: error.location().map_or(1, |it| usize::try_from(it.line()).unwrap_or(1)),
            message: one_line(&error.without_snippet().to_string()),
        })?;
        if !value.is_object() {
            return Err(Problem {
                line: 1,
                message: "a manifest is an object: `version: ...`, `streams: ...`".to_owned(),
            });
        }
        let resolved = Resolved::new(&value);
        Ok(Self { value, lines, resolved })
    }

    /// The connector's spec as its process would give it; none if the manifest has none.
    pub fn spec(&self) -> Option<Spec> {
        let spec = Resolved::member(&self.value, "spec")?;
        let config_schema = spec.get("connection_specification")?.clone();
        let documentation_url = spec.get("documentation_url").and_then(Value::as_str).map(str::to_owned);
        let advanced_auth = spec.get("advanced_auth").filter(|it| it.is_object()).cloned();
        Some(Spec { config_schema, documentation_url, advanced_auth, ..Spec::default() })
    }

    /// The line of a value; if it has none of its own, of what it is in.
    pub fn line(&self, at: &str) -> usize {
        let mut at = at;
        loop {
            match (self.lines.get(at), at.rfind('/')) {
                (Some(line), _) => return *line,
                (None, Some(end)) => at = &at[..end],
                (None, None) => return 1,
            }
        }
    }

    fn streams(&self) -> Vec<StreamOutline> {
        let streams = self.resolved.value["streams"].as_array().into_iter().flatten().enumerate();
        let outline = |(index, stream): (usize, &Value)| {
            let member = |name: &str| stream.get(name).or_else(|| stream.get("$parameters")?.get(name));
            Some(StreamOutline {
                name: member("name")?.as_str()?.to_owned(),
                primary_key: key(member("primary_key")),
                is_incremental: stream.get("incremental_sync").is_some_and(Value::is_object),
                line: self.line(&self.resolved.origin(&format!("/streams/{index}"))),
            })
        };
        streams.filter_map(outline).collect()
    }
}

/// What the page shows of a text.
pub fn outline(text: &str, schema: Option<&ComponentSchema>) -> Outline {
    let manifest = match Manifest::parse(text) {
        Ok(manifest) => manifest,
        Err(problem) => return Outline::of_problem(problem),
    };
    let spec = manifest.spec();
    let sign_in = spec.as_ref().and_then(|it| sign_in(&derive(it)));
    let title = spec.as_ref().and_then(|it| it.config_schema.get("title")?.as_str().map(str::to_owned));
    let mut problems = schema.map_or_else(Vec::new, |it| problems::find(it, &manifest.resolved));
    problems.dedup();
    Outline {
        problems: problems.into_iter().map(|(at, message)| Problem { line: manifest.line(&at), message }).collect(),
        streams: manifest.streams(),
        has_dynamic_streams: manifest.value["dynamic_streams"].as_array().is_some_and(|it| !it.is_empty()),
        fields: spec.as_ref().map_or_else(Vec::new, |it| config::fields(&it.config_schema)),
        title,
        documentation_url: spec.and_then(|it| it.documentation_url),
        has_custom_code: has_custom_code(&manifest.value),
        sign_in,
        manifest: Some(manifest.value),
    }
}

impl Outline {
    fn of_problem(problem: Problem) -> Self {
        Self {
            manifest: None,
            problems: vec![problem],
            streams: Vec::new(),
            has_dynamic_streams: false,
            fields: Vec::new(),
            title: None,
            documentation_url: None,
            has_custom_code: false,
            sign_in: None,
        }
    }
}

/// How Flow would sign users in.
pub fn derive(spec: &Spec) -> Derived {
    let declaration = Declaration {
        schema: &spec.config_schema,
        advanced_auth: spec.advanced_auth.as_ref(),
        auth_specification: None,
    };
    oauth::derive(&declaration, &OAuthSetting::Unsaid)
}

fn sign_in(derived: &Derived) -> Option<SignIn> {
    let provider = derived.oauth2.as_ref().map(|it| it["provider"].as_str().unwrap_or("the provider").to_owned());
    match (provider, &derived.missing) {
        (Some(provider), _) => Some(SignIn { provider, missing: None }),
        (None, Some(missing)) => Some(SignIn { provider: String::new(), missing: Some(missing.clone()) }),
        (None, None) => None,
    }
}

/// `id`, `[id, day]` or `[[id], [day]]`.
fn key(declared: Option<&Value>) -> Vec<String> {
    let component = |it: &Value| match it {
        Value::String(name) => Some(name.clone()),
        Value::Array(path) => Some(path.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(".")),
        _ => None,
    };
    match declared {
        Some(Value::Array(items)) => items.iter().filter_map(component).collect(),
        Some(it) => component(it).filter(|it| !it.is_empty()).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The config's schema: what it marks as secret has to be known wherever the manifest has it.
pub fn config_schema(manifest: &Value) -> Option<Value> {
    Resolved::member(manifest, "spec")?.get_mut("connection_specification").map(Value::take)
}

/// Whether a manifest names Python classes: the CDK imports them, wherever they are. A property of that name in a JSON schema
/// is none.
pub fn has_custom_code(manifest: &Value) -> bool {
    match manifest {
        Value::Array(items) => items.iter().any(has_custom_code),
        Value::Object(members) => {
            let named = members.get("class_name").is_some_and(|it| it.is_string() || it.get("$ref").is_some());
            named || members.values().any(has_custom_code)
        }
        _ => false,
    }
}

/// The line on which each value begins, or its name does.
fn lines(text: &str) -> Result<HashMap<String, usize>, Problem> {
    /// A collection whose end has not come yet.
    enum Open {
        /// The pointer, and the name whose value comes next.
        Map(String, Option<(String, usize)>),
        List(String, usize),
    }
    let mut lines = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| Problem { line: error.marker().line().max(1), message: one_line(&error.info()) })?;
        let line = span.start.line();
        if matches!(event, Event::SequenceEnd | Event::MappingEnd) {
            open.pop();
            continue;
        }
        let scalar = event.scalar().map(|(text, _)| text.to_owned());
        if !event.is_node() && !matches!(event, Event::Alias(_)) {
            continue;
        }
        let (at, line) = match open.last_mut() {
            None => (String::new(), line),
            Some(Open::List(at, index)) => {
                *index += 1;
                (format!("{at}/{}", *index - 1), line)
            }
            Some(Open::Map(_, name @ None)) => {
                // A name that is a collection is none that a manifest may have.
                *name = Some((scalar.unwrap_or_default(), line));
                continue;
            }
            Some(Open::Map(at, name)) => {
                let (name, line) = name.take().unwrap_or_default();
                (format!("{at}/{}", pointer::escape(&name)), line)
            }
        };
        match event {
            Event::SequenceStart(..) => open.push(Open::List(at.clone(), 0)),
            Event::MappingStart(..) => open.push(Open::Map(at.clone(), None)),
            _ => {}
        }
        lines.insert(at, line);
    }
    Ok(lines)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The member of a response for a manifest that can't be parsed.
pub fn unreadable(problem: &Problem) -> anyhow::Error {
    anyhow::anyhow!("the manifest is not valid YAML: line {}: {}", problem.line, problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MANIFEST: &str = "\
version: 6.0.0
type: DeclarativeSource
definitions:
  base: &base
    type: DeclarativeStream
streams:
  - name: users
    primary_key: id
    <<: *base
  - $ref: \"#/definitions/base\"
    $parameters: {name: orders, primary_key: [[order, id], day]}
    incremental_sync: {}
spec:
  connection_specification:
    title: Shop
    properties: {key: {type: string, airbyte_secret: true}}
";

    #[test]
    fn values_have_lines() {
        let manifest = Manifest::parse(MANIFEST).unwrap();
        for (at, line) in [
            ("", 1),
            ("/type", 2),
            ("/definitions/base/type", 5),
            ("/streams", 6),
            ("/streams/0", 7),
            ("/streams/0/primary_key", 8),
            ("/streams/1/$parameters/name", 11),
            ("/streams/1/retriever/requester", 10),
            ("/spec/connection_specification/properties/key/type", 16),
            ("/nowhere", 1),
        ] {
            assert_eq!(manifest.line(at), line, "{at}");
        }
    }

    #[test]
    fn the_outline_needs_no_python() {
        let outline = serde_json::to_value(outline(MANIFEST, None)).unwrap();
        assert_eq!(
            outline["streams"],
            json!([
                {"name": "users", "primary_key": ["id"], "is_incremental": false, "line": 7},
                {"name": "orders", "primary_key": ["order.id", "day"], "is_incremental": true, "line": 10},
            ])
        );
        assert_eq!((&outline["title"], &outline["fields"][0]["secret"]), (&json!("Shop"), &json!(true)));
    }

    #[test]
    fn invalid_yaml_is_a_problem_at_its_line() {
        for (text, line) in
            [("a: 1\nb: [1,\nc: 2\n", 2), ("a: 1\na: 2\n", 2), ("a: \"x\nb", 2), ("- 1\n", 1), ("a: *b\n", 1)]
        {
            let problem = Manifest::parse(text).err().expect("a problem");
            assert_eq!(problem.line, line, "{text:?}: {problem:?}");
        }
    }

    #[test]
    fn custom_code_is_found_but_not_in_a_form() {
        let has = |manifest: Value| has_custom_code(&manifest);
        assert!(has(json!({"streams": [{"retriever": {"class_name": "os.system"}}]})));
        assert!(has(json!({"streams": ["#/spec/a"], "spec": {"a": {"class_name": {"$ref": "#/version"}}}})));
        assert!(!has(json!({"spec": {"properties": {"class_name": {}}}, "streams": [{"name": "class_name"}]})));
    }
}
