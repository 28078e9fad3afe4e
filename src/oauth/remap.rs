//! Maps the config of Flow's form, with all OAuth fields in `/credentials`, to the connector's (docs/oauth.md,
//! "Derivation", 4), and a config that the connector changed back to Flow's.
//!
//! [`Remap::apply`] moves nothing for other logins, and skips fields that are absent.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::pointer::{member, prune, put, take};

/// The location of the OAuth fields in Flow's config.
pub(super) const CREDENTIALS: &str = "/credentials";

/// The fields to move, and for which login. Its JSON form is kept in the state, so it must stay compatible.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remap {
    /// The connector's object for logins, if it is not `/credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) login: Option<Login>,
}

/// The OAuth login among the connector's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Login {
    /// The member of `/credentials` that shows that this login was chosen, and its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator: Option<(String, Value)>,
    /// Whether there are other logins.
    #[serde(default)]
    pub alternatives: bool,
    /// The members of `/credentials` from the token response.
    pub given: Vec<String>,
    pub moves: Vec<Move>,
    /// Constants that the connector requires, added if the config lacks them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constants: Vec<(String, Value)>,
    /// Members of `/credentials` that the connector does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// The connector has no object for logins: the rest of `/credentials` is removed.
    #[serde(default)]
    pub at_root: bool,
}

/// Pointers into Flow's config and into the connector's, both before `/credentials` is moved to the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Move {
    pub from: String,
    pub to: String,
}

impl Remap {
    /// Whether Flow and the connector have the same config.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The connector's config for one of Flow's.
    pub fn apply(&self, config: &Value) -> Value {
        let mut changed = config.clone();
        if let Some(login) = self.login.as_ref().filter(|it| it.is_chosen(config)) {
            login.apply(&mut changed);
        }
        if let Some(container) = self.moved_container(config)
            && let Some(credentials) = take(&mut changed, CREDENTIALS)
            && let Err(credentials) = put(&mut changed, container, credentials)
        {
            let _ = put(&mut changed, CREDENTIALS, credentials);
        }
        changed
    }

    /// Flow's config for one of the connector's. `before` is the config that [`Remap::apply`] was given: it supplies the
    /// members that the connector never received.
    pub fn undo(&self, config: &Value, before: &Value) -> Value {
        let mut changed = config.clone();
        if let Some(container) = self.moved_container(before)
            && let Some(credentials) = take(&mut changed, container)
        {
            let _ = put(&mut changed, CREDENTIALS, credentials);
            prune(&mut changed, container, before);
        }
        if let Some(login) = self.login.as_ref().filter(|it| it.is_chosen(before)) {
            login.undo(&mut changed, before);
        }
        changed
    }

    /// The container, unless the config has it already: such a config is an earlier one or was written by hand.
    fn moved_container(&self, config: &Value) -> Option<&str> {
        let container = self.container.as_deref()?;
        let is_flows = member(config, CREDENTIALS).is_some_and(Value::is_object) && member(config, container).is_none();
        is_flows.then_some(container)
    }
}

impl Login {
    fn is_chosen(&self, config: &Value) -> bool {
        let Some(credentials) = config.get("credentials").and_then(Value::as_object) else { return false };
        if let Some((name, value)) = &self.discriminator
            && let Some(found) = credentials.get(name)
        {
            return found == value;
        }
        let given = self.given.iter().any(|it| credentials.contains_key(it));
        given && (!self.alternatives || ["client_id", "client_secret"].iter().all(|it| credentials.contains_key(*it)))
    }

    fn apply(&self, config: &mut Value) {
        // Take all before putting any: the target of one may be the source of another.
        let taken: Vec<(&Move, Value)> =
            self.moves.iter().filter_map(|it| Some((it, take(config, &it.from)?))).collect();
        for (it, value) in taken {
            if let Err(value) = put(config, &it.to, value) {
                let _ = put(config, &it.from, value);
            }
        }
        for name in &self.dropped {
            take(config, name);
        }
        if self.at_root {
            take(config, CREDENTIALS);
        }
        for (pointer, value) in &self.constants {
            if member(config, pointer).is_none() {
                let _ = put(config, pointer, value.clone());
            }
        }
    }

    fn undo(&self, config: &mut Value, before: &Value) {
        for (pointer, value) in &self.constants {
            if member(before, pointer).is_none() && member(config, pointer) == Some(value) {
                take(config, pointer);
            }
        }
        let mut taken = Vec::new();
        for it in &self.moves {
            // Flow's config had the value where the connector has it, so it was not moved.
            if member(before, &it.from).is_none() && member(before, &it.to).is_some() {
                continue;
            }
            taken.extend(take(config, &it.to).map(|value| (it, value)));
        }
        for (it, _) in &taken {
            if let Some(value) = member(before, &it.to)
                && !self.moves.iter().any(|other| other.from == it.to)
            {
                let _ = put(config, &it.to, value.clone());
            }
        }
        for (it, value) in taken {
            let _ = put(config, &it.from, value);
            prune(config, &it.to, before);
        }
        let hidden = self.dropped.iter().filter_map(|it| Some((it.clone(), member(before, it)?)));
        for (pointer, value) in hidden {
            let _ = put(config, &pointer, value.clone());
        }
        if self.at_root {
            self.restore_credentials(config, before);
        }
    }

    /// Restores the members of `/credentials` that the connector never received.
    fn restore_credentials(&self, config: &mut Value, before: &Value) {
        let Some(was) = before.get("credentials").and_then(Value::as_object) else { return };
        let Some(members) = config.as_object_mut() else { return };
        let credentials = members.entry("credentials").or_insert_with(|| Value::Object(Map::new()));
        let Some(credentials) = credentials.as_object_mut() else { return };
        for (name, value) in was {
            credentials.entry(name.as_str()).or_insert_with(|| value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn step(from: &str, to: &str) -> Move {
        Move { from: from.to_owned(), to: to.to_owned() }
    }

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|it| (*it).to_owned()).collect()
    }

    /// One of each kind: renamed in place, at the root, in an object with another name.
    fn remaps() -> Vec<Remap> {
        let renamed = Login {
            discriminator: Some(("auth_type".into(), json!("oauth2.0"))),
            alternatives: true,
            given: names(&["access_token"]),
            moves: vec![
                step("/credentials/client_id", "/credentials/app_id"),
                step("/credentials/client_secret", "/credentials/secret"),
                step("/tenant", "/credentials/tenant"),
                step("/credentials/shop", "/shop"),
            ],
            constants: vec![("/credentials/auth_type".into(), json!("oauth2.0"))],
            dropped: names(&["/credentials/expires"]),
            at_root: false,
        };
        let root = Login {
            given: names(&["access_token"]),
            moves: vec![
                step("/credentials/client_id", "/client_id"),
                step("/credentials/client_secret", "/auth/deep/secret"),
                step("/credentials/access_token", "/token"),
            ],
            constants: vec![("/auth_type".into(), json!("Client"))],
            at_root: true,
            ..Login::default()
        };
        vec![
            Remap { container: None, login: Some(renamed.clone()) },
            Remap { container: None, login: Some(root) },
            Remap { container: Some("/authorization".into()), login: Some(renamed) },
            Remap { container: Some("/auth/deep".into()), login: None },
        ]
    }

    #[test]
    fn oauth_fields_are_moved() {
        let config = json!({"tenant": "t", "credentials": {"auth_type": "oauth2.0", "client_id": "c", "client_secret": "s", "access_token": 1.50, "expires": 1}});
        let want = json!({"auth_type": "oauth2.0", "app_id": "c", "secret": "s", "access_token": 1.50, "tenant": "t"});
        assert_eq!(remaps()[0].apply(&config), json!({ "credentials": want }));
        assert_eq!(remaps()[2].apply(&config), json!({ "authorization": want }));
        let at_root = json!({"client_id": "c", "auth": {"deep": {"secret": "s"}}, "token": 1.50, "tenant": "t", "auth_type": "Client"});
        assert_eq!(remaps()[1].apply(&config), at_root);
    }

    #[test]
    fn a_rotated_token_is_mapped_back() {
        let config =
            json!({"credentials": {"client_id": "c", "client_secret": "s", "access_token": "old", "more": 1}, "x": 2});
        let mut rotated = remaps()[1].apply(&config);
        rotated["token"] = json!("new");
        let want =
            json!({"credentials": {"client_id": "c", "client_secret": "s", "access_token": "new", "more": 1}, "x": 2});
        assert_eq!(remaps()[1].undo(&rotated, &config), want);
    }

    #[test]
    fn other_logins_are_not_changed() {
        for config in [
            json!({"credentials": {"auth_type": "api_key", "client_id": "mine", "client_secret": "too", "access_token": "x"}}),
            json!({"credentials": {"api_key": "x"}, "tenant": "stays"}),
            json!({"api_key": "x"}),
            json!({"credentials": "a text"}),
            json!({"credentials": null}),
            json!([]),
        ] {
            assert_eq!(remaps()[0].apply(&config), config);
        }
    }

    fn any_config() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            Just(json!("oauth2.0")),
            Just(json!("Client")),
            Just(serde_json::from_str("1.2300e10").unwrap()),
            "[a-z]{0,3}".prop_map(Value::from),
        ];
        let name = prop::sample::select(vec![
            "credentials",
            "client_id",
            "client_secret",
            "access_token",
            "auth_type",
            "app_id",
            "secret",
            "tenant",
            "shop",
            "token",
            "auth",
            "deep",
            "expires",
            "authorization",
            "other",
        ]);
        let name = name.prop_map(str::to_owned);
        let value = leaf.prop_recursive(3, 24, 6, move |inner| {
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|it| Value::Object(it.into_iter().collect()))
        });
        prop::collection::vec(
            (
                prop::sample::select(vec![
                    "credentials",
                    "auth",
                    "shop",
                    "tenant",
                    "token",
                    "authorization",
                    "client_id",
                ]),
                value,
            ),
            0..6,
        )
        .prop_map(|it| Value::Object(it.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn undo_restores_the_config_before_apply(config in any_config()) {
            for remap in remaps() {
                let applied = remap.apply(&config);
                let restored = remap.undo(&applied, &config);
                prop_assert_eq!(&restored, &config, "{:?} through {}", remap, applied);
            }
        }

        #[test]
        fn api_keys_stay_where_they_are(mut config in any_config()) {
            if let Some(credentials) = config.get_mut("credentials").and_then(Value::as_object_mut) {
                credentials.insert("auth_type".into(), json!("api_key"));
            }
            let remap = &remaps()[0];
            prop_assert_eq!(remap.apply(&config), config.clone());
            prop_assert_eq!(remap.undo(&config, &config), config);
        }
    }
}
