//! What may have been meant by an argument that the command line does not have.

use std::path::Path;

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::settings::file;

const NAME: &str = env!("CARGO_PKG_NAME");

/// Adds to the error for an unexpected argument what may have been meant. clap itself reports a word before `--` as an
/// unexpected argument, because the connector's command is a positional argument.
pub fn improve(error: Error, command: &Command) -> Error {
    let word = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) => word.clone(),
        _ => return error,
    };
    match word.as_str() {
        // As for init.
        "--airbyte" | "--singer" | "--fivetran" => {
            return with_tip(error, format!("to say what the connector speaks, use `--protocol {}`", &word[2..]));
        }
        _ if word.starts_with('-') => return error,
        _ => {}
    }
    let subcommands = command.get_subcommands().filter(|it| !it.is_hide_set()).cloned();
    let only_subcommands = Command::new(NAME).subcommands(subcommands);
    match only_subcommands.try_get_matches_from([NAME, word.as_str()]) {
        Err(better) if better.get(ContextKind::SuggestedSubcommand).is_some() => better,
        _ if Path::new(&word).join(file::NAME).exists() => {
            with_tip(error, format!("to use a shim, write `--shim {word}`"))
        }
        _ if takes_command(&error) => {
            with_tip(error, format!("to run a connector, write `--` in front of its command: `-- {word}`"))
        }
        _ => error,
    }
}

/// Whether the subcommand takes a connector's command.
fn takes_command(error: &Error) -> bool {
    matches!(error.get(ContextKind::Usage), Some(ContextValue::StyledStr(usage)) if usage.to_string().contains("<COMMAND>"))
}

fn with_tip(mut error: Error, tip: String) -> Error {
    error.remove(ContextKind::SuggestedArg);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}
