//! All faults, a line each. `tests/run --faults` makes them all, `cargo test` one try of most.

use flow_shim::strict::Part;

use super::fault::Group::{Death, Lines, Memory, Modes as InModes, Requests, Secrets, Space, Stalls, State, Time};
use super::fault::Kept::{Nothing, Some};
use super::fault::Modes::{All, Fivetran, One};
use super::fault::Places::{End, Every, Start};
use super::fault::Throw::{Checkpoint, Connector, Held, Line, Meanwhile, Nothing as NoThrow, Own};
use super::fault::{Fault, INT, KILL, KILLED, STOP, STOPPED, TERM, WHOLE, WHOLE_OR_FAILS, fails, fault};
use super::session::Act::{CloseStdout, Drop, Signal as Send, Stall};
use super::world::Connector::{File, Image, Path};
use super::world::{Needs, PLAIN, World};
use super::{damage, memory, requests, rotated, secrets, states};

const SHIM: &[Part] = &[Part::Shim];
const KEEPER: &[Part] = &[Part::Keeper];
const IN_TIME: u64 = 11;

/// The rest of a shell script that becomes another user, who finds only the system's programs.
macro_rules! as_user {
    ($user:literal, $before:literal) => {
        as_user!($user, $before, "")
    };
    ($user:literal, $before:literal, $tool:literal) => {
        concat!(
            $before,
            "PATH=/usr/bin:/bin exec ",
            $tool,
            "setpriv --reuid=",
            $user,
            " --regid=",
            $user,
            r#" --clear-groups "$@""#
        )
    };
}

/// A shell script that runs in a mount namespace of its own.
macro_rules! mounted {
    ($script:literal) => {
        concat!("exec unshare -m sh -c '", $script, r#" && exec "$@"' sh "$@""#)
    };
}

/// The same, which ends with 99 if TMPDIR is not empty in the end: its mount ends with the namespace.
macro_rules! mounted_tmpdir {
    ($options:literal) => {
        concat!(
            "exec unshare -m sh -c 'mount -t tmpfs ",
            $options,
            r#" none "$TMPDIR" && "$@"; code=$?; [ -z "$(ls -A "$TMPDIR")" ] || exit 99; exit $code' sh "$@""#
        )
    };
}

/// A world made by a shell script.
const fn shell(script: &'static str) -> World {
    World { shell: script, ..PLAIN }
}

const fn needing(needs: Needs, script: &'static str) -> World {
    World { shell: script, needs, ..PLAIN }
}

/// A world whose connector is a file of this content and mode.
const fn file(content: &'static str, mode: u32) -> World {
    World { connector: File(content, mode), ..PLAIN }
}

const fn yaml(text: &'static str) -> World {
    World { shim_yaml: std::option::Option::Some(text), ..PLAIN }
}

const fn env(env: &'static [(&'static str, &'static str)]) -> World {
    World { env, ..PLAIN }
}

/// A fault of how the connector's program is started.
const fn unstartable(name: &'static str, world: World, last: &'static str) -> Fault {
    fault(Death, name, NoThrow, fails(last).kept(Nothing)).world(world)
}

/// The connector's script and then nothing more of it.
const fn connector(
    group: super::fault::Group,
    name: &'static str,
    directions: &'static [&'static str],
    want: super::fault::Want,
) -> Fault {
    fault(group, name, Connector(directions), want)
}

#[rustfmt::skip]
pub static FAULTS: &[Fault] = &[
    // Death of flow-shim.
    fault(Death, "SIGKILL to flow-shim, at each boundary", Held(&[Send(SHIM, KILL)]), KILLED).at(Every).in_modes(All),
    fault(Death, "SIGTERM to flow-shim, at each boundary", Held(&[Send(SHIM, TERM)]), STOPPED.within(IN_TIME)).at(Every).in_modes(All),
    fault(Death, "SIGINT to flow-shim, at each boundary", Held(&[Send(SHIM, INT)]), STOPPED.within(IN_TIME)).at(Every).in_modes(All),
    fault(Death, "SIGKILL to flow-shim within messages", Meanwhile(&[Send(SHIM, KILL)]), KILLED).long().in_modes(All),
    fault(Death, "SIGTERM to flow-shim within messages", Meanwhile(&[Send(SHIM, TERM)]), STOPPED.within(IN_TIME)).long().in_modes(All),
    fault(Death, "SIGKILL to flow-shim after each checkpoint", Checkpoint(&[Drop(SHIM)]), KILLED.exits(&[-9, 0]).kept(Some)).variants(14).in_modes(All),
    fault(Death, "SIGKILL to flow-shim and its keeper after each checkpoint", Checkpoint(&[Drop(&[Part::Shim, Part::Keeper])]), KILLED.exits(&[-9, 0]).kept(Some).stays()).variants(14).in_modes(All),
    connector(Death, "SIGKILL to flow-shim 0 to 5 ms after the connector's start", &["%shell (sleep 0.00$VARIANT; kill -KILL $SHIM) &", "%wait"], KILLED).at(Start).variants(6),
    connector(Death, "SIGTERM to flow-shim 0 to 5 ms after the connector's start", &["%shell (sleep 0.00$VARIANT; kill -TERM $SHIM) &", "%wait"], STOPPED.within(IN_TIME)).at(Start).variants(6),
    // Death of the keeper, and of pairs.
    connector(Death, "SIGKILL to the keeper, at each boundary", &["%shell kill -KILL $KEEPER", "%wait"], fails("keeper process was killed")).at(Every).in_modes(All),
    connector(Death, "SIGTERM and SIGINT to the keeper", &["%shell kill -TERM $KEEPER; kill -INT $KEEPER"], WHOLE),
    connector(Death, "SIGKILL to flow-shim and its keeper", &["%shell kill -STOP $KEEPER; kill -KILL $SHIM; kill -KILL $KEEPER", "%wait"], KILLED.stays()).at(Every).in_modes(All),
    connector(Death, "SIGKILL to flow-shim and the connector", &["%shell kill -KILL $SHIM $CONNECTOR", "%wait"], KILLED).at(Every).in_modes(All),
    connector(Death, "SIGKILL to the keeper and the connector", &["%shell kill -KILL $KEEPER $CONNECTOR", "%wait"], fails("keeper process was killed")).at(Every),
    connector(Death, "SIGKILL to all three", &["%shell kill -STOP $KEEPER; kill -KILL $CONNECTOR; kill -KILL $SHIM; kill -KILL $KEEPER", "%wait"], KILLED.stays()).at(Every),
    connector(Death, "SIGKILL to the keeper, with a daemon that the connector has started", &["%grandchild deaf session", "%shell kill -KILL $KEEPER", "%wait"], fails("keeper process was killed")),
    connector(Death, "SIGTERM to all three", &["%shell kill -TERM $SHIM $KEEPER $CONNECTOR", "%wait"], STOPPED.within(IN_TIME)).at(Every),
    fault(Death, "SIGSTOP to the keeper, then SIGTERM to flow-shim", Held(&[Send(KEEPER, STOP), Send(SHIM, TERM)]), STOPPED.within(IN_TIME)).slow(),
    fault(Death, "SIGSTOP to the keeper, then SIGKILL to flow-shim and the keeper", Held(&[Send(KEEPER, STOP), Send(&[Part::Shim, Part::Keeper], KILL)]), KILLED.stays()),
    // Death of the connector.
    connector(Death, "the connector exits with 1, at each boundary", &["%exit 1"], fails("exit code 1")).at(Every).in_modes(All),
    connector(Death, "the connector exits with 2", &["%exit 2"], fails("exit code 2")),
    connector(Death, "the connector exits with 127", &["%exit 127"], fails("exit code 127")),
    connector(Death, "the connector exits with 137", &["%exit 137"], fails("exit code 137")),
    connector(Death, "the connector exits with 143", &["%exit 143"], fails("exit code 143")),
    connector(Death, "the connector exits with 255", &["%exit 255"], fails("exit code 255")),
    connector(Death, "SIGKILL to the connector, at each boundary", &["%kill KILL"], fails("killed by signal 9")).at(Every).in_modes(All),
    connector(Death, "SIGTERM to the connector", &["%kill TERM"], fails("killed by signal 15")),
    connector(Death, "SIGSEGV to the connector", &["%kill SEGV"], fails("killed by signal 11")),
    connector(Death, "the connector closes stdout and stays", &["%drop", "%wait"], fails("closed its output but did not exit").within(40)).slow().of_lines(),
    connector(Death, "the connector ignores SIGTERM", &["%on TERM ignore", "%shell kill -TERM $SHIM", "%wait"], STOPPED.within(IN_TIME + 9)).slow(),
    connector(Death, "a grandchild holds the pipe", &["%grandchild"], WHOLE.within(30)),
    connector(Death, "a daemon holds the pipe and ignores SIGTERM", &["%grandchild deaf session"], WHOLE.within(30)),
    connector(Death, "a daemon holds the pipe where there is no subreaper", &["%grandchild deaf session"], WHOLE.within(30)).world(needing(Needs::Seccomp, r#"exec "$DENY" 157 "$@""#)).slow(),
    connector(Death, "a daemon where there is no subreaper, and SIGKILL to flow-shim", &["%grandchild deaf session", "%shell kill -KILL $SHIM", "%wait"], KILLED).world(needing(Needs::Seccomp, r#"exec "$DENY" 157 "$@""#)),
    connector(Death, "a fork storm, and the connector exits", &["%shell for i in 1 2 3 4 5 6 7 8; do (while :; do sleep 0.02 & sleep 0.01; done) & done"], WHOLE.within(40)),
    connector(Death, "a fork storm, and SIGKILL to flow-shim", &["%shell for i in 1 2 3 4 5 6 7 8; do (while :; do sleep 0.02 & sleep 0.01; done) & done; sleep 0.1; kill -KILL $SHIM", "%wait"], KILLED),
    connector(Death, "a descendant of another user, which may not be killed", &["%shell $DIR/become --reuid=0 --regid=0 --clear-groups sleep 30 >/dev/null 2>&1 & sleep 0.5"], WHOLE.within(40).stays())
        .world(needing(Needs::OtherUsers, as_user!(50123, r#"cp "$(command -v setpriv)" "$DIR/become"; chmod 4755 "$DIR/become"; "#))).slow(),
    fault(Death, "the runtime closes stdout", Meanwhile(&[CloseStdout]), STOPPED.exits(&[141]).within(IN_TIME)).long(),
    // How flow-shim and the connector are started.
    fault(Death, "SIGCHLD and SIGPIPE are ignored at the start", NoThrow, WHOLE).world(shell(r#"trap "" CHLD PIPE; exec "$@""#)),
    fault(Death, "SIGTERM and SIGINT are ignored at the start", Held(&[Send(SHIM, TERM)]), STOPPED.within(IN_TIME)).world(shell(r#"trap "" TERM INT; exec "$@""#)),
    unstartable("the connector is missing", World { connector: Path("/nowhere/connector"), ..PLAIN }, "there is no program"),
    unstartable("the connector is not executable", file("#!/bin/sh\n", 0o644), "is not executable"),
    unstartable("the connector's interpreter is missing", file("#!/nowhere/python\n", 0o755), "its interpreter /nowhere/python does not exist"),
    unstartable("the connector is a directory", World { connector: Path("/tmp"), ..PLAIN }, "is a directory"),
    unstartable("the connector has no first line that names a shell", file("echo\n", 0o755), "can't discover the streams"),
    unstartable("the connector is an empty file", file("", 0o755), "can't discover the streams"),
    fault(Death, "a container engine that hangs, then SIGTERM", NoThrow, STOPPED.within(IN_TIME + 9).kept(Nothing)).in_modes(One)
        .world(World { connector: Image("an-image"), env: &[("PATH", "$DIR/bin:/usr/bin:/bin")], ..shell(r#"mkdir -p "$DIR/bin"; printf '#!/bin/sh\nexec sleep 600\n' >"$DIR/bin/docker"; chmod 755 "$DIR/bin/docker"; (sleep 1; kill -TERM $$) & exec "$@""#) }).slow(),
    // Modes.
    fault(InModes, "undisturbed, then resumed, then with fewer rows", NoThrow, WHOLE).in_modes(All),
    fault(InModes, "undisturbed, with more than fits into the pipes", NoThrow, WHOLE).in_modes(All).long(),
    // Stalls.
    fault(Stalls, "the runtime reads nothing for 2 s", Meanwhile(&[Stall(2)]), WHOLE).long().slow(),
    fault(Stalls, "the runtime reads nothing for 30 s", Meanwhile(&[Stall(30)]), WHOLE.within(60)).long().slow().heavy().in_modes(All),
    fault(Stalls, "the runtime reads nothing for 30 s, then SIGTERM", Meanwhile(&[Stall(30), Send(SHIM, TERM)]), STOPPED.within(IN_TIME)).long().slow().heavy(),
    fault(Stalls, "the runtime reads nothing for longer than idleTimeout", Meanwhile(&[Stall(15)]), WHOLE).long().slow().world(yaml("idleTimeout: 8s\n")),
    connector(Stalls, "the connector is silent", &["%wait"], fails("the connector said nothing for 8s").exits(&[0, 1]).within(60)).at(Every).slow().world(yaml("idleTimeout: 8s\n")),
    connector(Stalls, "the connector only logs", &["%shell for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo at work >&2; sleep 1; done"], WHOLE.within(60)).slow().world(yaml("idleTimeout: 8s\n")),
    connector(Stalls, "100 MB of stderr while stdout is quiet", &["%shell yes $(head -c 4000 /dev/zero | tr '\\0' x) | head -c 100000000 >&2"], WHOLE.within(200)).heavy(),
    connector(Stalls, "100 MB of noise on stdout while stderr is quiet", &["%repeat 25000 noise $x(4000)"], WHOLE.within(200)).heavy().of_lines(),
    connector(Stalls, "nobody reads stderr", &["%shell yes $(head -c 400 /dev/zero | tr '\\0' x) | head -c 10000000 >&2"], WHOLE.within(30).silent()).world(shell(r#"mkfifo -m 666 "$DIR/stderr"; exec "$@" 2<>"$DIR/stderr""#)),
    connector(Stalls, "nobody reads stderr, then SIGTERM", &["%shell yes $(head -c 400 /dev/zero | tr '\\0' x) | head -c 10000000 >&2; kill -TERM $SHIM", "%wait"], STOPPED.within(IN_TIME + 9).silent()).slow().world(shell(r#"mkfifo -m 666 "$DIR/stderr"; exec "$@" 2<>"$DIR/stderr""#)),
    fault(Stalls, "services for a rotated token hang, fail, close in mid-answer", Own(rotated::tries), WHOLE).slow(),
    // Lines.
    fault(Lines, "the last line is cut at each byte, exit code 0", Line(damage::cut_and_end), fails("")).variants(120),
    fault(Lines, "the last line is cut at each byte, SIGKILL", Line(damage::cut_and_kill), fails("killed by signal 9")).variants(120),
    fault(Lines, "a message twice on one line", Line(damage::doubled), fails("")),
    fault(Lines, "a message and noise on one line", Line(damage::after_noise), fails("")),
    fault(Lines, "a message in single bytes", Line(damage::byte_by_byte), WHOLE),
    fault(Lines, "CRLF", Line(damage::with_crlf), WHOLE),
    fault(Lines, "a byte order mark", Line(damage::with_mark), WHOLE),
    fault(Lines, "NUL before a message", Line(damage::with_nul), WHOLE_OR_FAILS),
    fault(Lines, "terminal codes around a message", Line(damage::with_codes), WHOLE),
    fault(Lines, "UTF-16", Line(damage::utf16), fails("")),
    fault(Lines, "UTF-32", Line(damage::utf32), fails("")),
    fault(Lines, "a Python repr", Line(damage::repr), fails("")),
    fault(Lines, "JSON in quotes", Line(damage::quoted), fails("")),
    fault(Lines, "one-byte mutations of an Airbyte source's messages", Own(damage::mutated_messages_of_a_source), WHOLE),
    fault(Lines, "one-byte mutations of a tap's messages", Own(damage::mutated_messages_of_a_tap), WHOLE),
    fault(Lines, "one-byte mutations of a Fivetran connector's messages", Own(damage::mutated_messages_of_a_server), WHOLE),
    connector(Lines, "half a message, and the connector exits", &["%cut 0a0c", "%exit 0"], fails("")).in_modes(Fivetran).at(Every),
    connector(Lines, "half a message, and SIGKILL to the connector", &["%cut 0a0c", "%kill KILL"], fails("killed by signal 9")).in_modes(Fivetran),
    connector(Lines, "a gRPC status, at each boundary", &["%status UNAVAILABLE the source went away"], fails("the source went away")).in_modes(Fivetran).at(Every),
    connector(Lines, "a library's JSON over several lines", &["{", "  \"retries\": [", "    1,", "    {\"type\": \"x\"}", "  ]", "}"], WHOLE).of_lines(),
    connector(Lines, "a million empty lines", &["%repeat 1000000 "], WHOLE.within(200)).heavy().of_lines(),
    connector(Lines, "a million lines of noise", &["%repeat 1000000 noise $n"], WHOLE.within(300)).heavy().of_lines(),
    connector(Lines, "a million log lines on stderr", &["%shell yes 'INFO page done' | head -n 1000000 >&2"], WHOLE.within(300)).heavy(),
    connector(Lines, "300 MB of noise on one line", &["%line $x(300000000)"], WHOLE.within(200)).heavy().of_lines(),
    connector(Lines, "300 MB of noise without a newline at the end", &["%bytes $x(300000000)"], WHOLE.within(200)).at(End).heavy().of_lines(),
    fault(Lines, "a record of 300 MB", Line(damage::huge), fails("").within(200)).heavy(),
    fault(Lines, "a record of 300 MB without a newline at the end", Line(damage::huge_at_the_end), fails("").within(200)).heavy(),
    // Space and rights.
    fault(Space, "TMPDIR is full", NoThrow, fails("").kept(Nothing)).world(needing(Needs::Mounts, mounted!(r#"mount -t tmpfs -o size=4k none "$TMPDIR" && head -c 4096 /dev/zero >"$TMPDIR/full""#))).of_lines(),
    fault(Space, "TMPDIR is read-only", NoThrow, WHOLE).world(needing(Needs::Mounts, mounted!(r#"mount -t tmpfs -o ro none "$TMPDIR""#))),
    fault(Space, "TMPDIR does not exist", NoThrow, WHOLE).world(env(&[("TMPDIR", "/nowhere/tmp")])),
    fault(Space, "TMPDIR is on another file system", NoThrow, WHOLE).world(needing(Needs::Mounts, mounted_tmpdir!(""))),
    connector(Space, "the disk fills up while the connector runs", &["%shell head -c 2000000 /dev/zero >$TMPDIR/fill 2>/dev/null"], WHOLE).world(needing(Needs::Mounts, mounted_tmpdir!("-o size=1m"))),
    connector(Space, "a read-only directory is left in TMPDIR, by another user", &["%shell mkdir -p $TMPDIR/a/b; touch $TMPDIR/a/b/c; chmod -R a-w $TMPDIR/a"], WHOLE).world(needing(Needs::OtherUsers, as_user!(50123, ""))),
    connector(Space, "a read-only directory is left in TMPDIR, and SIGKILL to flow-shim", &["%shell mkdir -p $TMPDIR/a/b; touch $TMPDIR/a/b/c; chmod -R a-w $TMPDIR/a; kill -KILL $SHIM", "%wait"], KILLED),
    fault(Space, "no HOME, no USER", NoThrow, WHOLE).world(shell(r#"unset HOME USER LOGNAME; exec "$@""#)),
    fault(Space, "any user id", NoThrow, WHOLE).world(needing(Needs::OtherUsers, as_user!(4000000000, ""))),
    fault(Space, "at most 32 open files", NoThrow, WHOLE).world(shell(r#"exec prlimit --nofile=32:32 "$@""#)),
    fault(Space, "at most 16 open files", NoThrow, WHOLE_OR_FAILS.kept(Some)).world(shell(r#"exec prlimit --nofile=16:16 "$@""#)),
    fault(Space, "at most 20 open files", NoThrow, WHOLE_OR_FAILS.kept(Some)).world(shell(r#"exec prlimit --nofile=20:20 "$@""#)),
    fault(Space, "at most 24 open files", NoThrow, WHOLE_OR_FAILS.kept(Some)).world(shell(r#"exec prlimit --nofile=24:24 "$@""#)),
    fault(Space, "at most 1 process", NoThrow, fails("").kept(Nothing)).world(needing(Needs::OtherUsers, as_user!(50201, "", "prlimit --nproc=1:1 "))),
    fault(Space, "at most 3 processes", NoThrow, fails("").kept(Nothing)).world(needing(Needs::OtherUsers, as_user!(50203, "", "prlimit --nproc=3:3 "))),
    fault(Space, "at most 5 processes", NoThrow, WHOLE_OR_FAILS).world(needing(Needs::OtherUsers, as_user!(50205, "", "prlimit --nproc=5:5 "))),
    fault(Space, "at most 7 processes", NoThrow, WHOLE_OR_FAILS).world(needing(Needs::OtherUsers, as_user!(50207, "", "prlimit --nproc=7:7 "))),
    fault(Space, "no threads (seccomp)", NoThrow, fails("").kept(Nothing)).world(needing(Needs::Seccomp, r#"exec "$DENY" 56,57,58,435 "$@""#)),
    fault(Space, "no subreaper and no parent-death signal (seccomp)", NoThrow, WHOLE).world(needing(Needs::Seccomp, r#"exec "$DENY" 157 "$@""#)),
    fault(Space, "no /proc", NoThrow, fails("/proc").kept(Nothing)).world(needing(Needs::Mounts, mounted!("mount -t tmpfs none /proc"))),
    fault(Space, "no /dev/null", NoThrow, WHOLE).world(needing(Needs::Mounts, mounted!("mount -t tmpfs none /dev"))),
    fault(Space, "no /dev/null, then SIGTERM", Held(&[Send(SHIM, TERM)]), STOPPED.within(IN_TIME)).world(needing(Needs::Mounts, mounted!("mount -t tmpfs none /dev"))),
    fault(Space, "the root is read-only", NoThrow, WHOLE).world(World { env: &[("TMPDIR", "/tmp")], ..needing(Needs::Mounts, mounted!(r#"mount --bind "$DIR" "$DIR" && mount -o remount,bind,ro / && cd /"#)) }),
    // State.
    fault(State, "damaged cells and shared states", Own(states::damaged), fails("")),
    fault(State, "states of any shape", Own(states::shapes), WHOLE),
    fault(State, "states of 50 MB", Own(states::large), WHOLE).heavy(),
    fault(State, "10,000 streams", Own(states::many_streams), WHOLE).heavy(),
    // Requests.
    fault(Requests, "malformed and unknown requests", Own(requests::malformed), fails("")),
    fault(Requests, "requests that are unusual and valid", Own(requests::unusual), WHOLE),
    fault(Requests, "a thousand requests on one stdin", Own(requests::a_thousand), WHOLE),
    fault(Requests, "a config of 100 MB", Own(requests::large_config), WHOLE).heavy(),
    // Time.
    fault(Time, "eight hours: idle timeout, run interval, statuses, log rate, publishing", NoThrow, WHOLE).world(needing(Needs::Clock, "")),
    // Secrets.
    fault(Secrets, "a secret in each encoding, at each place", Own(secrets::encodings), WHOLE),
    fault(Secrets, "a secret cut across buffers and lines", Own(secrets::cuts), WHOLE),
    fault(Secrets, "a secret that is a word of the protocol", Own(secrets::words), WHOLE),
    fault(Secrets, "a secret in argv, environ, files and core files", Own(secrets::places_that_others_see), WHOLE),
    // Memory.
    fault(Memory, "millions of records", Own(memory::many_records), WHOLE).heavy(),
    fault(Memory, "records of 64 MB", Own(memory::large_records), WHOLE).heavy(),
    fault(Memory, "states of 50 MB, a slow reader", Own(memory::large_states), WHOLE).heavy(),
];
