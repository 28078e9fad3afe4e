//! Binds the streams of a preview to collections, which is the control plane's part in Flow.

use anyhow::{Context, Result, bail};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use tracing::info;

use globset::GlobMatcher;
use serde::Serialize;
use serde_json::{Value, json};

use super::validate::Validator;
use crate::json::pointer;
use crate::selection::{self, Selectable};
use crate::serve;
use crate::settings::streams::StreamRules;
use crate::upstream::{Discovery, Stream};

/// A stream, bound to a collection of its recommended name.
pub struct Binding {
    pub name: String,
    pub stream: Stream,
    resource: Value,
    path: Vec<String>,
    key: Vec<String>,
    schema: Value,
    /// F18.
    disable: bool,
}

/// A binding of the Open request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenBinding<'a> {
    resource_config: &'a Value,
    resource_path: &'a [String],
    collection: Value,
    state_key: String,
}

/// Binds each discovered stream; `pointers` locate the resource path in its resource config (F17).
pub fn bind(streams: Vec<Stream>, rules: &StreamRules, pointers: &Value) -> Result<Vec<Binding>> {
    let pointers: Vec<&str> = pointers.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let recommended = serve::discovered(streams.clone(), rules);
    let mut taken = HashSet::new();
    let bind = |(stream, it): (Stream, crate::flow::response::DiscoveredBinding)| {
        let path = pointer::path(&it.resource_config, &pointers);
        if !taken.insert(path.clone()) {
            bail!("the connector discovers stream {} more than once", stream.id);
        }
        let (name, resource) = (it.recommended_name, it.resource_config);
        Ok(Binding { name, stream, resource, path, key: it.key, schema: it.document_schema, disable: it.disable })
    };
    streams.into_iter().zip(recommended).map(bind).collect()
}

/// Switches all streams that support it to full refresh.
pub fn refresh_fully(bindings: &mut [Binding], source: &dyn Discovery) {
    for binding in bindings {
        match source.in_mode(&binding.stream, source.full_refresh_mode()) {
            Some(resource) => binding.resource = resource,
            None => info!(
                "stream {} has no full refresh mode: it is read in its usual mode, from the beginning",
                binding.stream.id
            ),
        }
    }
}

/// Switches the streams that a `--mode` names to that mode.
pub fn set_mode(bindings: &mut [Binding], mode: &StreamMode, source: &dyn Discovery) -> Result<()> {
    let mut found = false;
    for binding in bindings.iter_mut().filter(|it| it.matches(&mode.streams)) {
        found = true;
        binding.resource = source.in_mode(&binding.stream, &mode.mode).with_context(|| {
            let (name, modes) = (&binding.name, binding.stream.modes.join(", "));
            format!("--mode {name}={}: its modes are {modes}", mode.mode)
        })?;
    }
    if !found {
        let (glob, names) = (mode.streams.glob(), selection::names(bindings, 20));
        bail!("--mode {glob}={} matches none of the selected streams: {names}", mode.mode);
    }
    Ok(())
}

/// A `--mode`: `users=full_refresh`.
#[derive(Clone, Debug)]
pub struct StreamMode {
    streams: GlobMatcher,
    mode: String,
}

impl FromStr for StreamMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (streams, mode) = text.rsplit_once('=').ok_or("write it like users=full_refresh")?;
        let streams = selection::glob(streams).map_err(|it| it.to_string())?;
        Ok(Self { streams, mode: mode.to_owned() })
    }
}

/// A version of the bindings. It changes with the discovered streams, so that the catalog stored in the state is replaced.
pub fn version(bindings: &[Binding]) -> String {
    let mut declared: Vec<&str> = bindings.iter().map(|it| it.stream.declared.get()).collect();
    declared.sort_unstable();
    let mut hasher = DefaultHasher::new();
    declared.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

impl Selectable for Binding {
    fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> &[String] {
        &self.path
    }

    fn is_disabled(&self) -> bool {
        self.disable
    }
}

impl Binding {
    /// The state key (F19), with a backfill counter that is always 0.
    pub fn state_key(&self) -> String {
        format!("{}.v0", encode(&self.path.join("/")))
    }

    /// Checks documents against the collection's schema, if that is the declared one.
    pub fn validator(&self) -> Result<Validator> {
        Validator::new(&self.schema).with_context(|| format!("stream {}", self.stream.id))
    }

    pub fn open(&self) -> OpenBinding<'_> {
        OpenBinding {
            resource_config: &self.resource,
            resource_path: &self.path,
            collection: json!({"name": format!("preview/{}", self.name), "key": self.key, "writeSchema": self.schema}),
            state_key: self.state_key(),
        }
    }
}

/// Encodes a text as in a URL query.
fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::airbyte::Airbyte;
    use crate::selection::{glob, names, select};
    use crate::settings::SchemaMode;
    use serde_json::value::to_raw_value;

    fn bound(declared: &[Value]) -> Vec<Binding> {
        let stream = |it| Airbyte::default().stream(to_raw_value(it).unwrap()).unwrap();
        let rules = StreamRules::new(SchemaMode::Inferred, Default::default(), None).unwrap();
        bind(declared.iter().map(stream).collect(), &rules, &json!(["/namespace", "/stream"])).unwrap()
    }

    fn shop() -> Vec<Binding> {
        bound(&[
            json!({"name": "users", "namespace": "public"}),
            json!({"name": "users", "namespace": "audit log"}),
            json!({"name": "orders", "supported_sync_modes": ["incremental"], "default_cursor_field": ["at"]}),
            json!({"name": "events", "supported_sync_modes": ["incremental", "full_refresh"], "default_cursor_field": ["at"]}),
        ])
    }

    fn selected(globs: &[&str]) -> Result<String, String> {
        let globs: Vec<_> = globs.iter().map(|it| glob(it).unwrap()).collect();
        select(shop(), &globs, &[]).map(|it| names(&it, 9)).map_err(|it| it.to_string())
    }

    #[test]
    fn globs_match_names_with_and_without_their_namespace() {
        assert_eq!(selected(&[]).unwrap(), "public/users, audit log/users, orders, events");
        assert_eq!(selected(&["users"]).unwrap(), "public/users, audit log/users");
        assert_eq!(selected(&["public/*", "o*"]).unwrap(), "public/users, orders");
        assert_eq!(selected(&["{orders,events}"]).unwrap(), "orders, events");
        insta::assert_snapshot!(selected(&["users", "oders"]).unwrap_err(), @"--select oders matches no stream: there are public/users, audit log/users, orders, events");
    }

    #[test]
    fn excluded_streams_are_dropped_after_the_selection() {
        let globs = |texts: &[&str]| texts.iter().map(|it| glob(it).unwrap()).collect::<Vec<_>>();
        let chosen = |selected: &[&str], excluded: &[&str]| {
            let chosen = select(shop(), &globs(selected), &globs(excluded));
            chosen.map(|it| names(&it, 9)).map_err(|it| it.to_string())
        };
        assert_eq!(chosen(&[], &["users"]).unwrap(), "orders, events");
        assert_eq!(chosen(&["*"], &["public/*", "events"]).unwrap(), "audit log/users, orders");
        insta::assert_snapshot!(chosen(&[], &["oders"]).unwrap_err(), @"--exclude oders matches no stream: there are public/users, audit log/users, orders, events");
        insta::assert_snapshot!(chosen(&["orders"], &["o*"]).unwrap_err(), @"--exclude excludes all selected streams");
    }

    #[test]
    fn state_keys_are_encoded_paths() {
        let keys: Vec<_> = shop().iter().map(Binding::state_key).collect();
        assert_eq!(keys, ["public%2Fusers.v0", "audit+log%2Fusers.v0", "orders.v0", "events.v0"]);
    }

    #[test]
    fn full_refresh_skips_streams_without_that_mode() {
        let mut bindings = shop();
        refresh_fully(&mut bindings, &Airbyte::default());
        let modes: Vec<_> = bindings.iter().map(|it| it.resource["syncMode"].as_str().unwrap()).collect();
        assert_eq!(modes, ["full_refresh", "full_refresh", "incremental", "full_refresh"]);
        assert!(bindings[3].resource.get("cursorField").is_none());
    }

    #[test]
    fn the_version_depends_on_the_declared_streams_not_their_order() {
        let one = json!({"name": "a"});
        let two = json!({"name": "b", "json_schema": {"type": "object"}});
        let version = |all: &[&Value]| version(&bound(&all.iter().map(|it| (*it).clone()).collect::<Vec<_>>()));
        assert_eq!(version(&[&one, &two]), version(&[&two, &one]));
        assert_ne!(version(&[&one]), version(&[&one, &two]));
    }
}
