//! `--select` and `--exclude`: which of the discovered streams a command captures.

use anyhow::{Result, bail};
use globset::{Glob, GlobMatcher};

/// A stream that can be selected.
pub trait Selectable {
    /// The recommended name.
    fn name(&self) -> &str;

    /// The resource path.
    fn path(&self) -> &[String];

    /// Not captured unless it is selected by name (F18).
    fn is_disabled(&self) -> bool;

    /// Compares with the recommended name, the whole path and the stream's own name.
    fn matches(&self, glob: &GlobMatcher) -> bool {
        let own = self.path().last().is_some_and(|it| glob.is_match(it));
        own || glob.is_match(self.name()) || glob.is_match(self.path().join("/"))
    }
}

/// Parses `--select` and `--exclude`.
pub fn glob(text: &str) -> Result<GlobMatcher, globset::Error> {
    Ok(Glob::new(text)?.compile_matcher())
}

/// Keeps the streams that match any glob, without globs all that are not disabled, and drops those that match `excluded`.
pub fn select<T: Selectable>(mut streams: Vec<T>, globs: &[GlobMatcher], excluded: &[GlobMatcher]) -> Result<Vec<T>> {
    // A glob without matches is probably a typing error.
    for (option, globs) in [("--select", globs), ("--exclude", excluded)] {
        if let Some(glob) = globs.iter().find(|glob| !streams.iter().any(|it| it.matches(glob))) {
            let glob = glob.glob().glob();
            bail!("{option} {glob} matches no stream: there are {}", names(&streams, 20));
        }
    }
    if globs.is_empty() && streams.iter().all(Selectable::is_disabled) {
        bail!("all streams are disabled: select streams with --select from {}", names(&streams, 20));
    }
    streams.retain(|it| if globs.is_empty() { !it.is_disabled() } else { globs.iter().any(|glob| it.matches(glob)) });
    streams.retain(|it| !excluded.iter().any(|glob| it.matches(glob)));
    if streams.is_empty() {
        bail!("--exclude excludes all selected streams");
    }
    Ok(streams)
}

/// The first names, for a message.
pub fn names<T: Selectable>(streams: &[T], most: usize) -> String {
    let mut text = streams.iter().take(most).map(Selectable::name).collect::<Vec<_>>().join(", ");
    if streams.len() > most {
        text += &format!(" and {} more", streams.len() - most);
    }
    text
}
