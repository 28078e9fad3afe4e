//! The `secrets` of a task: values that Flow merges into its config and does not keep in its spec (F28).

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its name in the catalog.
    pub name: String,
    /// Where in the config its value is merged; empty is the whole config.
    pub pointer: String,
}

/// Reads either direction of the map: pointers begin with a slash, names never do.
pub(super) fn from_map(map: BTreeMap<String, String>) -> Vec<Secret> {
    let secret = |(key, value): (String, String)| {
        let (name, pointer) = if key.is_empty() || key.starts_with('/') { (value, key) } else { (key, value) };
        Secret { name, pointer }
    };
    map.into_iter().map(secret).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_mean_the_same() {
        let pairs = [("acmeCo/password", "/credentials/password"), ("acmeCo/whole", "")];
        let by_name = pairs.map(|(name, pointer)| (name.to_owned(), pointer.to_owned()));
        let by_pointer = pairs.map(|(name, pointer)| (pointer.to_owned(), name.to_owned()));
        let want = pairs.map(|(name, pointer)| Secret { name: name.into(), pointer: pointer.into() });
        assert_eq!(from_map(by_name.into()), want);
        let mut read = from_map(by_pointer.into());
        read.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(read, want);
    }
}
