//! Names as Flow's control plane normalises them (F16), and how they are kept apart.

use std::collections::HashSet;

/// Gives every stream a name that is still its own after normalisation, in order.
#[derive(Default)]
pub struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// `wanted`, or `wanted_2`, `wanted_3`... where another stream already has that name.
    pub fn claim(&mut self, wanted: &str) -> String {
        let base = if normalise(wanted).is_empty() { "stream" } else { wanted };
        let mut name = base.to_owned();
        let mut count = 1;
        while !self.taken.insert(normalise(&name)) {
            count += 1;
            name = format!("{base}_{count}");
        }
        name
    }
}

/// Runs of word characters, `-` and `.`, with `/` kept between them, joined by `_`.
pub fn normalise(name: &str) -> String {
    let word = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.');
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
    fn names_that_collide_are_told_apart() {
        let mut names = Names::default();
        let got: Vec<_> = ["a b", "a_b", "a_b_2", "???", "!!!"].iter().map(|it| names.claim(it)).collect();
        assert_eq!(got, ["a b", "a_b_2", "a_b_2_2", "stream", "stream_2"]);
    }
}
