//! A command in one string, as Airbyte's images have it in AIRBYTE_ENTRYPOINT.

use shell_words::ParseError;

/// The words of the command; none if there are no words. Airbyte's launcher gives the string to a shell. One is used here
/// only if the string needs it: `VAR=x cmd`, `$VAR`, `exec cmd`, `cd d && cmd`. Arguments that are added to the result
/// are appended to the command as they are.
pub fn of_string(text: &str) -> Result<Option<Vec<String>>, ParseError> {
    let words = shell_words::split(text)?;
    let Some(first) = words.first() else { return Ok(None) };
    if !needs_shell(text, first) {
        return Ok(Some(words));
    }
    // The trap keeps the shell alive at SIGTERM until the connector has ended.
    let script = format!("trap : TERM INT\n{} \"$@\"", text.trim().trim_end_matches(';'));
    Ok(Some(["sh", "-c", &script, "sh"].map(str::to_owned).into()))
}

/// What has a meaning for a shell, apart from quotes and backslashes.
const SPECIAL: &[char] = &['$', '`', ';', '&', '|', '<', '>', '(', ')', '{', '}', '*', '?', '[', '~', '#', '\n'];

/// Commands of the shell itself.
const BUILTINS: [&str; 11] =
    ["exec", "cd", "export", "unset", "set", "source", ".", "eval", "command", "ulimit", "umask"];

fn needs_shell(text: &str, first: &str) -> bool {
    let is_assignment = first
        .split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|it| it == '_' || it.is_ascii_alphanumeric()));
    text.trim().contains(SPECIAL) || is_assignment || BUILTINS.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What the command prints with two more arguments.
    fn output(text: &str) -> String {
        let mut command = of_string(text).unwrap().unwrap();
        command.extend(["read".to_owned(), "a b;$HOME".to_owned()]);
        let output = Command::new(&command[0]).args(&command[1..]).env("GREETING", "hello").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_string_that_needs_no_shell_becomes_words() {
        for (text, words) in [
            ("python /airbyte/main.py", vec!["python", "/airbyte/main.py"]),
            (" python 'a b' \"c\\\"d\" e\\ f ", vec!["python", "a b", "c\"d", "e f"]),
            ("tap --option=x", vec!["tap", "--option=x"]),
        ] {
            assert_eq!(of_string(text).unwrap().unwrap(), words, "{text}");
        }
        assert_eq!(of_string("  ").unwrap(), None);
        assert!(of_string("python 'a").is_err());
    }

    #[test]
    fn shell_syntax_is_passed_to_a_shell() {
        let printf = "printf '<%s>'";
        for (text, want) in [
            (format!("{printf} plain"), "<plain><read><a b;$HOME>"),
            (format!("{printf} \"$GREETING you\""), "<hello you><read><a b;$HOME>"),
            (format!("exec {printf}"), "<read><a b;$HOME>"),
            (format!("cd / && {printf} x;"), "<x><read><a b;$HOME>"),
            (format!("X=1 {printf} $(echo y)"), "<y><read><a b;$HOME>"),
            ("A=from_env sh -c 'echo $A $1' x".to_owned(), "from_env read\n"),
        ] {
            assert_eq!(output(&text), want, "{text}");
        }
    }
}
