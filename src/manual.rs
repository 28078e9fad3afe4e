//! `flow-shim completions` and `flow-shim man`: shell completions and the man page, generated from the command line's
//! definition.

use anyhow::{Context, Result};
use std::io::Write;
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

/// Prints the completions for a shell.
pub fn completions(shell: Shell, mut command: Command, stdout: &mut impl Write) -> Result<ExitCode> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&script, stdout)
}

/// Prints the man page, with a section for each subcommand.
pub fn man(mut command: Command, stdout: &mut impl Write) -> Result<ExitCode> {
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).context("can't generate the man page")?;
    for subcommand in command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help") {
        let title = subcommand.get_bin_name().unwrap_or(subcommand.get_name()).to_uppercase();
        writeln!(page, ".SH \"{title}\"").context("can't generate the man page")?;
        if let Some(about) = subcommand.get_about() {
            writeln!(page, "{}", roff_text(&about.to_string())).context("can't generate the man page")?;
        }
        let man = clap_mangen::Man::new(subcommand.clone());
        man.render_synopsis_section(&mut page).context("can't generate the man page")?;
        man.render_options_section(&mut page).context("can't generate the man page")?;
        man.render_extra_section(&mut page).context("can't generate the man page")?;
    }
    print(&page, stdout)
}

/// A text that troff does not take for a request or an escape.
fn roff_text(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', " ");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn print(text: &[u8], stdout: &mut impl Write) -> Result<ExitCode> {
    match stdout.write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("can't write to stdout"),
        _ => Ok(ExitCode::SUCCESS),
    }
}
