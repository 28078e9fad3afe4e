//! What a connector changed in its config, and which of it is lost unless it is published: secrets with new values.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::marks;
use crate::json::pointer;
use crate::secrets::{Schemas, is_secret_name};

/// A config of Flow's and what the connector made of it.
pub struct Change {
    pub before: Value,
    pub now: Value,
    pub members: Vec<Changed>,
}

/// A member that differs. Arrays are compared as a whole.
#[derive(Debug, PartialEq)]
pub struct Changed {
    /// The names from the root of the config.
    pub path: Vec<String>,
    /// None if it was removed.
    pub value: Option<Value>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A secret that the old config does not have: the old value may not work any more.
    Rotated,
    /// Anything else that must not be readable.
    Hidden,
    Plain,
}

impl Change {
    /// `schema` is the config's. Without one, all values are hidden, and names tell which were rotated.
    pub fn new(before: Value, now: Value, schema: Option<&Value>) -> Self {
        let mut old = HashSet::new();
        values(&before, &mut |_, value| {
            old.insert(value);
        });
        let mut finder = Finder { is_renewable: can_renew(&now, &old), old, members: Vec::new() };
        finder.compare(&now, Some(&before), &mut Vec::new(), &Schemas::new(schema), false);
        let members = finder.members;
        Self { before, now, members }
    }

    /// The names of the members, without any value.
    pub fn names(&self) -> String {
        names(self.members.iter())
    }

    pub fn rotated(&self) -> impl Iterator<Item = &Changed> {
        self.members.iter().filter(|it| it.kind == Kind::Rotated)
    }

    /// The old config with the new secrets, and nothing else that the connector changed.
    pub fn only_rotated(self) -> Self {
        let members: Vec<Changed> = self.members.into_iter().filter(|it| it.kind == Kind::Rotated).collect();
        let mut now = self.before.clone();
        let is_complete = members.iter().all(|it| it.apply(&mut now));
        // A secret's object may have been something else before.
        Self { before: self.before, now: if is_complete { now } else { self.now }, members }
    }
}

impl Changed {
    /// The JSON pointer of the member.
    pub fn pointer(&self) -> String {
        pointer::from_path(self.path.iter().map(String::as_str))
    }

    /// Makes the same change to another config; false if it has no object there.
    pub fn apply(&self, config: &mut Value) -> bool {
        match &self.value {
            Some(value) => pointer::put(config, &self.pointer(), value.clone()).is_ok(),
            None => pointer::take(config, &self.pointer()).is_some(),
        }
    }
}

/// The names of members, for messages.
pub fn names<'a>(members: impl Iterator<Item = &'a Changed>) -> String {
    members.map(|it| it.path.join(".")).collect::<Vec<_>>().join(", ")
}

struct Finder {
    /// The values of the old config.
    old: HashSet<String>,
    /// Access tokens can be renewed.
    is_renewable: bool,
    members: Vec<Changed>,
}

impl Finder {
    fn compare(
        &mut self,
        now: &Value,
        before: Option<&Value>,
        path: &mut Vec<String>,
        schemas: &Schemas,
        is_marked: bool,
    ) {
        let Some(members) = now.as_object() else {
            if before != Some(now) {
                let kind = self.kind(now, path, schemas, is_marked);
                self.members.push(Changed { path: path.clone(), value: Some(now.clone()), kind });
            }
            return;
        };
        let none = Map::new();
        let old = before.and_then(Value::as_object).unwrap_or(&none);
        for (name, value) in members {
            path.push(name.clone());
            let schemas_of_it = schemas.member(name);
            let is_marked = is_marked || schemas_of_it.mark_secret();
            // What nothing declares is hidden, but only its name tells whether it is a secret.
            let known = self.members.len();
            self.compare(value, old.get(name), path, &schemas_of_it, is_marked);
            if !schemas.declare(name) {
                let plain = self.members[known..].iter_mut().filter(|it| it.kind == Kind::Plain && it.value.is_some());
                plain.for_each(|it| it.kind = Kind::Hidden);
            }
            path.pop();
        }
        for name in old.keys().filter(|it| !members.contains_key(*it)) {
            let path = path.iter().chain([name]).cloned().collect();
            self.members.push(Changed { path, value: None, kind: Kind::Plain });
        }
    }

    fn kind(&self, value: &Value, path: &[String], schemas: &Schemas, is_marked: bool) -> Kind {
        let name = path.last().map_or("", String::as_str);
        let is_secret = is_marked || is_secret_name(name) || marks::hides_any(value, schemas);
        let is_empty = matches!(value, Value::Null | Value::Bool(_)) || value == "";
        let is_renewed = self.is_renewable && is_named(name, "accesstoken");
        if is_secret && !is_empty && !is_renewed && !self.old.contains(&value.to_string()) {
            return Kind::Rotated;
        }
        if is_secret { Kind::Hidden } else { Kind::Plain }
    }
}

/// Whether the config has refresh tokens (RFC 6749), and all are old ones: with them, a lost access token is renewed.
fn can_renew(now: &Value, old: &HashSet<String>) -> bool {
    let (mut has_token, mut is_new) = (false, false);
    values(now, &mut |name, value| {
        if is_named(name, "refreshtoken") && value != "\"\"" {
            has_token = true;
            is_new |= !old.contains(&value);
        }
    });
    has_token && !is_new
}

/// Whether a name is this one in any case, with or without separators.
fn is_named(name: &str, plain: &str) -> bool {
    name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).eq(plain.chars())
}

/// Calls `with` for each value in objects, with its name and its text.
fn values(value: &Value, with: &mut impl FnMut(&str, String)) {
    for (name, member) in value.as_object().into_iter().flatten() {
        if member.is_object() {
            values(member, with);
        } else {
            with(name, member.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"properties": {
            "key": {"airbyte_secret": true}, "region": {"type": "string"}, "token_expiry_date": {"type": "string"},
            "auth": {"oneOf": [{"properties": {
                "refresh_token": {"airbyte_secret": true}, "access_token": {"airbyte_secret": true}, "api_key": {},
            }}]},
        }})
    }

    fn kinds(before: Value, now: Value) -> Vec<(String, Kind)> {
        let change = Change::new(before, now, Some(&schema()));
        change.members.iter().map(|it| (it.path.join("."), it.kind)).collect()
    }

    fn kind(name: &str, kind: Kind) -> (String, Kind) {
        (name.to_owned(), kind)
    }

    #[test]
    fn new_secrets_are_rotated() {
        let found = kinds(
            json!({"key": "k1", "region": "eu", "auth": {"refresh_token": "r1", "same": [1], "gone": true}}),
            json!({"key": "k2", "region": "us", "auth": {"refresh_token": "r2", "same": [1], "more": "m", "client_secret": "s"}}),
        );
        let want = [
            kind("key", Kind::Rotated),
            kind("region", Kind::Plain),
            kind("auth.refresh_token", Kind::Rotated),
            kind("auth.more", Kind::Hidden),
            kind("auth.client_secret", Kind::Rotated),
            kind("auth.gone", Kind::Plain),
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn a_migration_rotates_nothing() {
        let found = kinds(json!({"key": "k1", "old": "x"}), json!({"auth": {"api_key": "k1"}, "added": "x"}));
        let want = [
            kind("auth.api_key", Kind::Hidden),
            kind("added", Kind::Hidden),
            kind("key", Kind::Plain),
            kind("old", Kind::Plain),
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn an_access_token_is_lost_only_if_it_cannot_be_renewed() {
        let renewed = json!({"auth": {"refresh_token": "r1", "access_token": "a2"}, "token_expiry_date": "2026"});
        let want = [kind("auth.access_token", Kind::Hidden), kind("token_expiry_date", Kind::Plain)];
        assert_eq!(kinds(json!({"auth": {"refresh_token": "r1"}}), renewed), want);
        let alone = kinds(json!({"auth": {"access_token": "a1"}}), json!({"auth": {"access_token": "a2"}}));
        assert_eq!(alone, [kind("auth.access_token", Kind::Rotated)]);
        let both = json!({"auth": {"refresh_token": "r2", "accessToken": "a2"}});
        let want = [kind("auth.refresh_token", Kind::Rotated), kind("auth.accessToken", Kind::Rotated)];
        assert_eq!(kinds(json!({"auth": {"refresh_token": "r1"}}), both), want);
    }

    #[test]
    fn only_rotated_members_can_be_kept() {
        let before = json!({"key": "k1", "old": "x"});
        let change = Change::new(before, json!({"key": "k1", "auth": {"refresh_token": "r2"}, "region": "eu"}), None);
        assert_eq!(change.names(), "auth.refresh_token, region, old");
        let change = change.only_rotated();
        assert_eq!(change.now, json!({"key": "k1", "old": "x", "auth": {"refresh_token": "r2"}}));
        assert_eq!(change.names(), "auth.refresh_token");
    }
}
