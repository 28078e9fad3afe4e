//! `flow-shim completions`, `flow-shim man`, and suggestions for mistyped commands.

use crate::command::run;

#[test]
fn completions_know_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(["completions", shell]).ok().stdout;
        assert!(script.contains("preview") && script.contains("limit-per-stream"), "{shell}: {script}");
    }
}

#[test]
fn the_man_page_describes_each_command() {
    let page = run(["man"]).ok().stdout;
    assert!(page.contains(".TH flow-shim 1"), "{page}");
    for section in ["FLOW-SHIM PREVIEW", "FLOW-SHIM INSPECT", "FLOW-SHIM INIT", "FLOW-SHIM OAUTH"] {
        assert!(page.contains(section), "{section}");
    }
    assert!(!page.contains("demo-source"), "hidden commands are not documented");
}

#[test]
fn mistyped_commands_and_options_get_a_suggestion() {
    for (typed, meant) in [(["prevew", "--limit"], "preview"), (["preview", "--limt"], "--limit")] {
        let run = run(typed);
        assert_eq!(run.code, Some(2));
        assert!(run.stderr.contains(meant), "{}", run.stderr);
    }
}
