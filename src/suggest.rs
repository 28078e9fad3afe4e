//! "Did you mean" for mistyped names.

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

const NAME: &str = env!("CARGO_PKG_NAME");

/// How similar two names are (Jaro-Winkler, 0 to 1) if one may be a typo of the other.
const SIMILAR: f64 = 0.8;

/// The name that is most similar to a mistyped one.
pub fn similar<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let rated = names.into_iter().map(|it| (strsim::jaro_winkler(word, it), it));
    rated.filter(|it| it.0 >= SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0)).map(|it| it.1)
}

/// ` (did you mean X?)`, or nothing.
pub fn hint<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    similar(word, names).map_or_else(String::new, |it| format!(" (did you mean `{it}`?)"))
}

/// Replaces the error for an unexpected word by a suggestion, if the word is similar to a subcommand. clap itself reports a
/// word before `--` as an unexpected argument, because the connector's command is a positional argument.
pub fn improve(error: Error, command: &Command) -> Error {
    let word = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) if !word.starts_with('-') => word.clone(),
        _ => return error,
    };
    let subcommands = command.get_subcommands().filter(|it| !it.is_hide_set()).cloned();
    let only_subcommands = Command::new(NAME).subcommands(subcommands);
    match only_subcommands.try_get_matches_from([NAME, word.as_str()]) {
        Err(better) if better.get(ContextKind::SuggestedSubcommand).is_some() => better,
        _ => error,
    }
}
