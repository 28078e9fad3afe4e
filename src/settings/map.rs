//! `spec.map`: values that the connector wants at another place than Flow's config has them, in the form of
//! airbyte-to-flow's `spec.map.json`: `{"/target": "/source"}`. The value at the source moves to the target; the target
//! `""` only removes it. An absent source is skipped: not every config has every field.

use serde_json::Value;

use crate::json::pointer::{member, prune, put, take};

/// In the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigMap(Vec<Entry>);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    target: String,
    source: String,
}

impl ConfigMap {
    /// The error names the invalid entry.
    pub fn new<'a>(entries: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Result<Self, String> {
        let is_pointer = |it: &str| it.starts_with('/');
        let entry = |(target, source): (&String, &Value)| match source.as_str() {
            Some(source) if is_pointer(source) && (target.is_empty() || is_pointer(target)) => {
                Ok(Entry { target: target.clone(), source: source.to_owned() })
            }
            _ => Err(format!("`{target}: {source}` is not an entry of a map: write it like `/target: /source`")),
        };
        entries.into_iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The config as the connector wants it.
    pub fn apply(&self, config: &Value) -> Value {
        let mut changed = config.clone();
        for Entry { target, source } in &self.0 {
            if let Some(value) = take(&mut changed, source)
                && !target.is_empty()
                && let Err(value) = put(&mut changed, target, value)
            {
                let _ = put(&mut changed, source, value);
            }
        }
        changed
    }

    /// The config as Flow keeps it; `before` is the one that [`ConfigMap::apply`] was given.
    pub fn undo(&self, config: &Value, before: &Value) -> Value {
        // What each entry met, to be put back in reverse.
        let mut states = vec![before.clone()];
        for entry in &self.0 {
            let one = Self(vec![entry.clone()]);
            let next = one.apply(&states[states.len() - 1]);
            states.push(next);
        }
        let mut changed = config.clone();
        for (Entry { target, source }, before) in self.0.iter().zip(&states).rev() {
            let Some(was) = member(before, source) else { continue };
            let value = if target.is_empty() { Some(was.clone()) } else { take(&mut changed, target) };
            if let Some(overwritten) = member(before, target) {
                let _ = put(&mut changed, target, overwritten.clone());
            }
            prune(&mut changed, target, before);
            if let Some(value) = value {
                let _ = put(&mut changed, source, value);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(entries: Value) -> ConfigMap {
        ConfigMap::new(entries.as_object().unwrap()).unwrap()
    }

    #[test]
    fn values_are_moved_and_moved_back() {
        let cases = [
            (
                json!({"/authorization": "/credentials"}),
                json!({"credentials": {"a": 1}}),
                json!({"authorization": {"a": 1}}),
            ),
            (
                json!({"/credentials/app_id": "/credentials/client_id", "/credentials/secret": "/credentials/client_secret"}),
                json!({"credentials": {"client_id": "c", "access_token": "t"}}),
                json!({"credentials": {"access_token": "t", "app_id": "c"}}),
            ),
            (
                json!({"/auth_type": "/credentials/auth_type", "/a/b": "/credentials/x"}),
                json!({"credentials": {"auth_type": "Client", "x": 1.50}, "start": "s"}),
                json!({"credentials": {}, "start": "s", "auth_type": "Client", "a": {"b": 1.50}}),
            ),
            (json!({"": "/advanced"}), json!({"advanced": {"x": 1}, "y": 2}), json!({"y": 2})),
            (json!({"/access_token": "/credentials/access_token"}), json!({"api_key": "k"}), json!({"api_key": "k"})),
            (json!({"/a": "/b"}), json!({"a": 1, "b": 2}), json!({"a": 2})),
            (json!({"/a/c": "/b"}), json!({"a": "no object", "b": 2}), json!({"a": "no object", "b": 2})),
        ];
        for (entries, flow, connector) in cases {
            let map = map(entries);
            assert_eq!(map.apply(&flow), connector);
            assert_eq!(map.undo(&connector, &flow), flow, "{map:?}");
        }
    }

    #[test]
    fn rotated_values_are_mapped_back() {
        let map = map(json!({"/refresh_token": "/credentials/refresh_token"}));
        let before = json!({"credentials": {"refresh_token": "old"}});
        let rotated = json!({"credentials": {}, "refresh_token": "new"});
        assert_eq!(map.undo(&rotated, &before), json!({"credentials": {"refresh_token": "new"}}));
    }

    proptest::proptest! {
        #[test]
        fn undo_restores_the_config_before_apply(
            entries in proptest::collection::vec(("(/[ab]){0,3}", "(/[ab]){1,3}"), 0..4),
            leaves in proptest::collection::vec(("(/[abc]){1,3}", 0_u8..9), 0..5),
        ) {
            let entries: serde_json::Map<String, Value> =
                entries.into_iter().map(|(target, source)| (target, source.into())).collect();
            let map = ConfigMap::new(&entries).unwrap();
            let mut config = json!({});
            for (pointer, value) in leaves {
                let _ = put(&mut config, &pointer, Value::from(value));
            }
            let applied = map.apply(&config);
            proptest::prop_assert_eq!(map.undo(&applied, &config), config, "{:?} through {}", map, applied);
        }
    }

    #[test]
    fn other_entries_are_refused() {
        for entries in [json!({"a": "/b"}), json!({"/a": "b"}), json!({"/a": 1})] {
            assert!(ConfigMap::new(entries.as_object().unwrap()).is_err());
        }
    }
}
