//! Tasks with `secrets`: which secret each changed member belongs to (F28).
//!
//! A secret is merged into the config at its pointer, so its value there cannot be told from the config's own. What the
//! shim publishes as a secret's value is everything at its pointer, except what a deeper secret brings.

use std::collections::BTreeMap;

use serde_json::Value;

use super::change::{Change, Changed, Kind};
use crate::flow::secret::Secret;
use crate::json::pointer;
use crate::oauth::{CLIENT_ID, CLIENT_SECRET};

/// The changed members of a config by where they have to go.
pub struct Split<'a> {
    /// With the value that the secret gets; none if nothing is left for it.
    pub secrets: Vec<(&'a Secret, Option<Value>, Vec<&'a Changed>)>,
    /// May be readable in the task's config.
    pub plain: Vec<&'a Changed>,
    /// Must not be, and no secret has them.
    pub uncovered: Vec<&'a Changed>,
}

pub fn split<'a>(change: &'a Change, secrets: &'a [Secret], task: &str) -> Split<'a> {
    let mut split = Split { secrets: Vec::new(), plain: Vec::new(), uncovered: Vec::new() };
    let mut covered: BTreeMap<&str, (&Secret, Vec<&Changed>)> = BTreeMap::new();
    for member in &change.members {
        match owner(&member.pointer(), secrets, task) {
            Some(secret) => covered.entry(&secret.name).or_insert((secret, Vec::new())).1.push(member),
            None if member.kind == Kind::Plain => split.plain.push(member),
            None => split.uncovered.push(member),
        }
    }
    for (secret, members) in covered.into_values() {
        split.secrets.push((secret, value(&change.now, secret, secrets, task), members));
    }
    split
}

/// The secret that a member belongs to: the one with the deepest pointer. At the same pointer a task can only change one
/// beside it in the catalog, and the last by name is merged last.
fn owner<'a>(member: &str, secrets: &'a [Secret], task: &str) -> Option<&'a Secret> {
    let covering = secrets.iter().filter(|it| is_within(member, &it.pointer) || is_within(&it.pointer, member));
    covering.max_by_key(|it| (it.pointer.len(), is_sibling(&it.name, task), &it.name))
}

fn value(config: &Value, secret: &Secret, secrets: &[Secret], task: &str) -> Option<Value> {
    let mut value = config.pointer(&secret.pointer)?.clone();
    for other in secrets.iter().filter(|it| it.name != secret.name) {
        if other.pointer != secret.pointer && is_within(&other.pointer, &secret.pointer) {
            pointer::take(&mut value, &other.pointer[secret.pointer.len()..]);
        }
        // An OAuth client belongs to the connector's publisher, who may change it.
        if other.pointer == secret.pointer
            && !is_sibling(&other.name, task)
            && let Some(members) = value.as_object_mut()
        {
            members.retain(|name, _| name != CLIENT_ID && name != CLIENT_SECRET);
        }
    }
    Some(value)
}

/// Whether a pointer is another one or leads into it.
fn is_within(pointer: &str, other: &str) -> bool {
    pointer.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a secret is beside the task in the catalog.
fn is_sibling(secret: &str, task: &str) -> bool {
    let parent = |name: &str| name.rsplit_once('/').map(|it| it.0.to_owned());
    parent(secret).is_some() && parent(secret) == parent(task)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TASK: &str = "acmeCo/in/source-x";

    fn secret(name: &str, pointer: &str) -> Secret {
        Secret { name: name.into(), pointer: pointer.into() }
    }

    fn change() -> Change {
        let before = json!({"region": "eu", "credentials": {
            "client_id": "c", "client_secret": "s", "refresh_token": "r1", "kind": "oauth", "deep": {"key": "k1"}}});
        let mut now = before.clone();
        now["credentials"]["refresh_token"] = "r2".into();
        now["credentials"]["deep"]["key"] = "k2".into();
        now["region"] = "us".into();
        now["api_key"] = "a1".into();
        let schema =
            json!({"properties": {"region": {}, "credentials": {"properties": {"refresh_token": {"secret": true}}}}});
        Change::new(before, now, Some(&schema))
    }

    /// The names, values and members of the secrets, then the other members.
    fn shown(secrets: &[Secret]) -> (Vec<(String, Value, String)>, String, String) {
        let change = change();
        let split = split(&change, secrets, TASK);
        let names = |members: &[&Changed]| super::super::change::names(members.iter().copied());
        let secrets = split.secrets.iter().map(|it| (it.0.name.clone(), it.1.clone().unwrap(), names(&it.2))).collect();
        (secrets, names(&split.plain), names(&split.uncovered))
    }

    #[test]
    fn a_secret_gets_what_is_at_its_pointer() {
        let secrets = [secret("acmeCo/in/token", "/credentials/refresh_token")];
        let want = vec![("acmeCo/in/token".into(), json!("r2"), "credentials.refresh_token".into())];
        assert_eq!(shown(&secrets), (want, "region".into(), "credentials.deep.key, api_key".into()));
    }

    #[test]
    fn the_deepest_secret_gets_a_member() {
        let secrets = [secret("acmeCo/in/all", "/credentials"), secret("acmeCo/in/key", "/credentials/deep/key")];
        let (found, plain, uncovered) = shown(&secrets);
        let all = json!({"client_id": "c", "client_secret": "s", "refresh_token": "r2", "kind": "oauth", "deep": {}});
        let want = [
            ("acmeCo/in/all".to_owned(), all, "credentials.refresh_token".to_owned()),
            ("acmeCo/in/key".to_owned(), json!("k2"), "credentials.deep.key".to_owned()),
        ];
        assert_eq!((found.as_slice(), plain.as_str(), uncovered.as_str()), (&want[..], "region", "api_key"));
    }

    #[test]
    fn a_publishers_client_stays_out_of_the_tasks_secret() {
        let secrets =
            [secret("vendor/connectors/ghcr.io/x/client", "/credentials"), secret("acmeCo/in/tokens", "/credentials")];
        let (found, ..) = shown(&secrets);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "acmeCo/in/tokens");
        assert_eq!(found[0].1, json!({"refresh_token": "r2", "kind": "oauth", "deep": {"key": "k2"}}));
    }

    #[test]
    fn a_secret_can_be_the_whole_config() {
        let secrets = [secret("acmeCo/in/whole", "")];
        let (found, plain, uncovered) = shown(&secrets);
        assert_eq!(found[0].1, change().now);
        assert_eq!((plain, uncovered), (String::new(), String::new()));
    }
}
