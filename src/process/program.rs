//! The program of a connector's command: where it is, and why it cannot be started.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Error, Result, anyhow, bail};

/// This binary, whatever path it has or once had.
pub const OURSELVES: &str = "/proc/self/exe";

/// The command with the path of its program, which is looked up here for the sake of clear messages. A command named
/// `flow-shim` is this binary itself.
pub fn find(command: &[String]) -> Result<Vec<String>> {
    let (program, arguments) = command.split_first().ok_or_else(|| anyhow!("the connector's command is empty"))?;
    let found = match program.as_str() {
        "flow-shim" => OURSELVES.to_owned(),
        path if path.contains('/') => {
            check(Path::new(path))?;
            path.to_owned()
        }
        name => match search_path(name) {
            Some(path) => path,
            None => bail!(missing(name)),
        },
    };
    Ok(std::iter::once(found).chain(arguments.iter().cloned()).collect())
}

fn missing(program: &str) -> String {
    format!("there is no program `{program}`: install the connector, or correct its command")
}

fn check(path: &Path) -> Result<()> {
    let name = path.display();
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => bail!("can't access `{name}`: {error}"),
        Err(_) if path.is_symlink() => bail!("`{name}` is a symbolic link to a file that does not exist"),
        Err(_) => bail!(missing(&name.to_string())),
        Ok(it) if it.is_dir() => bail!("`{name}` is a directory: the connector's command begins with a program"),
        Ok(it) if it.permissions().mode() & 0o111 == 0 => bail!("`{name}` is not executable: run `chmod +x {name}`"),
        Ok(_) => Ok(()),
    }
}

/// The executable file of a program in PATH.
pub fn search_path(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let is_executable =
        |file: &Path| file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    let file = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_executable(file))?;
    file.into_os_string().into_string().ok()
}

/// Why the kernel did not start a program that is there.
pub fn not_started(program: &str, errno: i32) -> Error {
    let error = io::Error::from_raw_os_error(errno);
    let interpreter = first_line(Path::new(program)).and_then(|it| it.into_iter().next());
    match (error.kind(), interpreter) {
        (io::ErrorKind::NotFound, Some(interpreter)) if !Path::new(&interpreter).exists() => anyhow!(
            "can't start `{program}`: its interpreter {interpreter} does not exist (a virtual environment that was moved must be installed anew)"
        ),
        (io::ErrorKind::NotFound, None) if Path::new(program).exists() => anyhow!(
            "can't start `{program}`: its dynamic loader does not exist (it was built for another system or C library)"
        ),
        _ if errno == rustix::io::Errno::NOEXEC.raw_os_error() => anyhow!(
            "can't start `{program}`: it is not a program of this machine (a script needs a first line like #!/bin/sh)"
        ),
        _ if errno == rustix::io::Errno::AGAIN.raw_os_error() => {
            anyhow!(
                "can't start `{program}`: {error} (raise the limit on processes: `ulimit -u`, or the container's PIDs)"
            )
        }
        _ => anyhow!("can't start `{program}`: {error}"),
    }
}

/// The program that runs a script, as its first line names it: not `env`, but what `env` looks up.
pub fn interpreter(script: &Path) -> Option<String> {
    let words = first_line(script)?;
    match words.split_first()? {
        (env, arguments) if env.ends_with("/env") => search_path(arguments.iter().find(|it| !it.starts_with('-'))?),
        (program, _) => Some(program.clone()),
    }
}

/// The words of a script's first line, after `#!`.
fn first_line(script: &Path) -> Option<Vec<String>> {
    let mut line = Vec::new();
    BufReader::new(fs::File::open(script).ok()?.take(512)).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8(line).ok()?;
    Some(line.strip_prefix("#!")?.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::sentence;

    #[test]
    fn reasons_for_not_starting_are_distinguished() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path.to_string_lossy().into_owned()
        };
        let plain = file("plain", 0o644, "#!/bin/sh\n");
        let moved = file("moved", 0o755, "#!/nowhere/python3 -s\n");
        let text = file("text", 0o755, "no\n");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/nowhere/tap", &link).unwrap();
        let found = |program: &str| sentence(&find(&[program.to_owned()]).unwrap_err());
        let messages = [
            found(&plain),
            found(folder.path().to_str().unwrap()),
            found(&folder.path().join("none").to_string_lossy()),
            found(&link.to_string_lossy()),
            found("no-such-program"),
            sentence(&find(&[]).unwrap_err()),
            sentence(&not_started(&moved, 2)),
            sentence(&not_started(&text, 8)),
            sentence(&not_started(&text, 2)),
            sentence(&not_started(&text, 11)),
            sentence(&not_started(&text, 13)),
        ]
        .join("\n")
        .replace(folder.path().to_str().unwrap(), "FOLDER");
        insta::assert_snapshot!(messages);
    }
}
