//! Recommended names: as Flow's control plane normalises them, and distinct by its comparison (F16).
//!
//! Flow compares names after decomposing them (NFD), folding their case and composing them again (NFKC), and no
//! collection's name may be a path prefix of another's (`a` of `a/b`).

use std::collections::{HashMap, HashSet};

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Gives every stream a name of its own, in order.
#[derive(Default)]
pub struct Names {
    taken: HashSet<String>,
    /// The proper path prefixes of the taken names.
    folders: HashSet<String>,
    /// How many names were made of each base, so that the next one need not try them all.
    counts: HashMap<String, usize>,
}

impl Names {
    /// `wanted`, or `wanted_2`, `wanted_3`... if another stream already has that name. A name inside another one
    /// (`a/b` beside `a`) loses its slashes.
    pub fn claim(&mut self, wanted: &str) -> String {
        let mut base = if normalise(wanted).is_empty() { "stream".to_owned() } else { wanted.to_owned() };
        if folders(&compared(&base)).any(|it| self.taken.contains(it)) {
            base = normalise(&base).replace('/', "_");
        }
        let mut name = base.clone();
        let is_taken = |name: &str| self.taken.contains(name) || self.folders.contains(name);
        let mut compared = compared(&name);
        if is_taken(&compared) {
            let count = self.counts.entry(compared.clone()).or_insert(1);
            while is_taken(&compared) {
                *count += 1;
                name = format!("{base}_{count}");
                compared = self::compared(&name);
            }
        }
        self.folders.extend(folders(&compared).map(str::to_owned));
        self.taken.insert(compared);
        name
    }
}

/// The form in which Flow compares names.
fn compared(name: &str) -> String {
    caseless::default_case_fold_str(&normalise(name).nfd().collect::<String>()).nfkc().collect()
}

/// The proper path prefixes of a name.
fn folders(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// Runs of word characters, `-` and `.`, with `/` kept between them, joined by `_`.
pub fn normalise(name: &str) -> String {
    let word = |it: char| it.is_alphanumeric() || is_combining_mark(it) || matches!(it, '_' | '-' | '.');
    let mut runs = Vec::new();
    for run in name.split(|it| !word(it) && it != '/') {
        let parts: Vec<&str> = run.split('/').collect();
        // Only a slash between two words stays; elsewhere it ends the run.
        let mut joined = String::new();
        for part in parts {
            if part.is_empty() {
                if !joined.is_empty() {
                    runs.push(std::mem::take(&mut joined));
                }
            } else {
                if !joined.is_empty() {
                    joined.push('/');
                }
                joined.push_str(part);
            }
        }
        if !joined.is_empty() {
            runs.push(joined);
        }
    }
    runs.join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_as_the_control_plane_does() {
        for (name, want) in [
            ("users", "users"),
            ("public/users", "public/users"),
            ("a b", "a_b"),
            ("/a//b/", "a_b"),
            ("Über größe!", "Über_größe"),
            ("???", ""),
            ("a/ b", "a_b"),
        ] {
            assert_eq!(normalise(name), want, "{name}");
        }
    }

    #[test]
    fn colliding_names_are_made_distinct() {
        let mut names = Names::default();
        let got: Vec<_> = ["a b", "a_b", "a_b_2", "???", "!!!"].iter().map(|it| names.claim(it)).collect();
        assert_eq!(got, ["a b", "a_b_2", "a_b_2_2", "stream", "stream_2"]);
    }

    #[test]
    fn names_are_compared_as_flow_does() {
        for (first, second, want) in [
            ("Users", "users", "users_2"),
            ("stra\u{df}e", "STRASSE", "STRASSE_2"),
            ("caf\u{e9}", "cafe\u{301}", "cafe\u{301}_2"),
            ("\u{fb01}le", "file", "file_2"),
            ("a", "a/b", "a_b"),
            ("A", "a/b/c", "a_b_c"),
            ("a/b", "a", "a_2"),
            ("a/b/c", "a/b", "a/b_2"),
            ("a/b", "a/c", "a/c"),
            ("ab", "a/b", "a/b"),
        ] {
            let mut names = Names::default();
            assert_eq!(names.claim(first), first);
            assert_eq!(names.claim(second), want, "{first}");
        }
    }
}
