//! "Did you mean" for mistyped subcommands. clap itself reports a word before `--` as an unexpected argument, because the
//! connector's command is a positional argument.

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

const NAME: &str = env!("CARGO_PKG_NAME");

/// Replaces the error for an unexpected word by a suggestion, if the word is similar to a subcommand.
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
