//! The tries of a fault, and how one is made: the faulty session, then healthy ones that continue from what was committed.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use flow_shim::strict::Part;
use serde_json::json;

use super::fault::{Fault, INT, KILL, Kept, Modes, Places, TERM, Throw};
use super::oracle::{Commits, Oracle};
use super::report::Tried;
use super::script::{MODES, Mode, STREAMS, Script, Step, protocols};
use super::session::{Act, Desk, HELD, Seen, Setup, When};
use super::table::FAULTS;
use super::world::{Connector, World};

/// How much longer than wanted a session may take before it is killed.
const MARGIN: Duration = Duration::from_secs(30);

/// A fault at its place in a script.
#[derive(Clone, Copy)]
pub struct Thrown {
    pub fault: &'static Fault,
    /// The step before which it happens.
    pub place: usize,
    pub variant: usize,
}

/// Sessions with a fault each, then healthy ones.
#[derive(Clone)]
pub struct Try {
    pub script: Script,
    pub thrown: Vec<Thrown>,
}

impl fmt::Debug for Try {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// The tries of a fault, at most so many, spread over its modes and places.
pub fn of(fault: &'static Fault, most: usize) -> Vec<Try> {
    let modes: &[Mode] = match fault.modes {
        Modes::All => &MODES,
        Modes::Protocols => protocols(),
        Modes::One => &MODES[..1],
        Modes::Fivetran => &MODES[2..3],
    };
    let mut all = Vec::new();
    for mode in modes.iter().filter(|it| !fault.lines || it.wire.has_lines()) {
        let script = if fault.long { Script::long(mode) } else { Script::short(mode) };
        for place in places(fault.places, &script) {
            let of_variant = |variant| Try { script: script.clone(), thrown: vec![Thrown { fault, place, variant }] };
            all.extend((0..fault.variants).map(of_variant));
        }
    }
    // An odd step reaches other places in each mode.
    let step = all.len().div_ceil(most).max(1);
    let step = if step > 1 && step.is_multiple_of(2) { step + 1 } else { step };
    let first = fault.name.len() % step.min(all.len());
    all.into_iter().skip(first).step_by(step).collect()
}

fn places(places: Places, script: &Script) -> Vec<usize> {
    let steps = script.steps.len();
    let is_row = |it: &usize| matches!(script.steps[*it], Step::Row(_));
    match places {
        Places::Every => (0..=steps).collect(),
        Places::Middle => vec![(steps / 2..steps).find(is_row).unwrap_or(steps / 2)],
        Places::Start => vec![0],
        Places::End => vec![steps],
    }
}

impl Try {
    /// `MODE | STEPS | FAULT | PLACE | VARIANT | ...`: all that there is to know of it.
    pub fn name(&self) -> String {
        let all = self.thrown.iter().map(|it| format!(" | {} | {} | {}", it.fault.name, it.place, it.variant));
        format!("{} | {}{}", self.script.mode.name, self.script.body(), all.collect::<String>())
    }

    /// The try of that name; none where the table has no such fault any more.
    pub fn named(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split(" | ").collect();
        let (&[mode, body], thrown) = parts.split_first_chunk()?;
        let script = Script::of_body(MODES.iter().find(|it| it.name == mode)?, body);
        let thrown = thrown.chunks_exact(3).map(|it| {
            let fault = FAULTS.iter().find(|fault| fault.name == it[0])?;
            let place = it[1].parse::<usize>().ok()?.min(script.steps.len());
            Some(Thrown { fault, place, variant: it[2].parse().ok()? })
        });
        let thrown = thrown.collect::<Option<_>>()?;
        Some(Self { script, thrown })
    }

    pub fn run(&self) -> Tried {
        let script = &self.script;
        let desk = Desk::new();
        let path = desk.path("try.case");
        let acts = self.acts();
        fs::write(&path, self.conversation(&acts, &[])).expect("a file");
        let start = || Setup::new(script.mode, &desk, &path);
        let mut oracle = Oracle::new();
        let mut tried = Tried { name: self.name(), ..Tried::default() };
        let (mut state, mut begun, mut counts) = (json!({}), HashSet::new(), Vec::new());
        for (act, thrown) in (1..).zip(&self.thrown) {
            let Fault { world, want, .. } = &thrown.fault;
            let count = oracle.rows_before(script, thrown.place);
            counts.push(count);
            let patience = Duration::from_secs(want.within) + MARGIN;
            let hook = thrown.hook(count);
            let seen = Setup { act, state: &state, begun, world, hook, patience, ..start() }.run();
            oracle.session(script, thrown.commits(script, &seen), &seen);
            let mut session = of_session(String::new(), &seen);
            thrown.check(&seen, &mut session);
            if want.stays {
                // The next start removes the files, which is counted there.
                (session.files, session.processes) = (0, 0);
            } else if desk.left() > 0 && seen.files == 0 {
                session.files += desk.left();
                session.wrong.push("files are left in TMPDIR".to_owned());
            }
            tried.add(session);
            (state, begun) = (seen.state, seen.begun);
        }
        for (act, script) in (self.thrown.len() + 1..).zip(self.healthy()) {
            let seen = Setup { act, state: &state, begun, ..start() }.run();
            oracle.session(&script, Commits::All, &seen);
            oracle.finish(&script);
            if !seen.exit.success() {
                tried.wrong.push(format!("the healthy session {act} ended with {}: {}", seen.exit, seen.last));
            }
            tried.processes += seen.processes;
            tried.files += seen.files;
            tried.wrong.extend(seen.wrong);
            (state, begun) = (seen.state, seen.begun);
        }
        (tried.lost, tried.doubled) = (oracle.lost, oracle.doubled);
        tried.wrong.append(&mut oracle.wrong);
        let is_a_conversation = self.thrown.iter().all(Thrown::is_in_a_conversation);
        tried.case = (!tried.wrong.is_empty() && is_a_conversation).then(|| self.conversation(&acts, &counts));
        tried
    }

    /// What the connector does after the faults: all, then less if it is a full refresh.
    fn healthy(&self) -> Vec<Script> {
        let shorter = self.script.mode.refresh.then(|| self.script.shorter());
        [self.script.clone()].into_iter().chain(shorter).collect()
    }

    /// The connector's lines in each session.
    fn acts(&self) -> Vec<Vec<String>> {
        let healthy = self.healthy();
        let healthy = healthy.iter().map(|it| it.play(usize::MAX, &[]));
        self.thrown.iter().map(|it| it.lines(&self.script)).chain(healthy).collect()
    }

    /// The try as a conversation; `counts` are the documents at which a runtime acts.
    fn conversation(&self, acts: &[Vec<String>], counts: &[usize]) -> String {
        let mut text = self.script.prologue(&format!("Nothing is lost or doubled: {}.", self.name()));
        for ((index, lines), outcome) in acts.iter().enumerate().zip(self.outcomes()) {
            let _ = write!(text, "\n=== open\n== read\n{}\n", lines.join("\n"));
            if let Some((thrown, count)) = self.thrown.get(index).zip(counts.get(index)) {
                for action in thrown.hook(*count).iter().flat_map(|it| it.1).filter_map(as_hook) {
                    let when = if *count == 0 { format!("log {HELD}") } else { format!("documents {count}") };
                    let _ = writeln!(text, "== when {when}: {action}");
                }
                let _ = writeln!(text, "== exit {}", as_exits(thrown.fault.want.exits));
            }
            let Some(rows) = outcome else { continue };
            let _ = writeln!(text, "== counts");
            for (stream, count) in STREAMS.iter().zip(rows).filter(|it| it.1 > 0) {
                let _ = writeln!(text, "{stream} {count}");
            }
        }
        text
    }

    /// How many documents of each stream each session has to commit; `None` where that is not determined.
    fn outcomes(&self) -> Vec<Option<[usize; STREAMS.len()]>> {
        let commits = |it: &Thrown| match it.wanted_commits(&self.script) {
            // Nobody waits for what was sent.
            Commits::AnyStateBefore(_) if !matches!(it.fault.throw, Throw::Held(_)) => Commits::AnyState,
            commits => commits,
        };
        let faulty = self.thrown.iter().map(|it| (self.script.clone(), commits(it)));
        let healthy = self.healthy().into_iter().map(|it| (it, Commits::All));
        let mut start = Some(vec![0; STREAMS.len()]);
        let outcome = |(script, commits): (Script, Commits)| {
            let (mut documents, next) = start.take().and_then(|start| Oracle::outcome(&script, commits, &start))?;
            start = Some(next);
            if self.script.mode.has_tombstones() {
                // Of the rows that are gone since the healthy session before.
                let gone = self.script.rows().into_iter().zip(script.rows()).map(|(before, now)| before - now);
                documents.iter_mut().zip(gone).for_each(|(count, gone)| *count += gone as usize);
            }
            Some(documents)
        };
        faulty.chain(healthy).map(outcome).collect()
    }
}

impl Thrown {
    /// The connector's lines in this session.
    fn lines(&self, script: &Script) -> Vec<String> {
        match self.fault.throw {
            Throw::Nothing | Throw::Meanwhile(_) | Throw::Checkpoint(_) | Throw::Own(_) => script.play(usize::MAX, &[]),
            Throw::Connector(directions) => {
                let number = self.variant.to_string();
                let directions: Vec<_> = directions.iter().map(|it| it.replace("$VARIANT", &number)).collect();
                script.play(self.place, &directions)
            }
            Throw::Held(_) => script.play(self.place, &[format!("%stderr {HELD}"), "%wait".to_owned()]),
            Throw::Line(change) => {
                let marked = script.play(self.place, &["%HERE".to_owned()]);
                let here = marked.iter().position(|it| it == "%HERE").unwrap_or(0);
                let changed = change(&marked[here + 1], self.variant);
                [&marked[..here], &changed, &marked[here + 2..]].concat()
            }
        }
    }

    /// What the runtime does, where `count` rows come before it.
    fn hook(&self, count: usize) -> Option<(When, &'static [Act])> {
        match self.fault.throw {
            Throw::Held(acts) => Some((When::Held(count), acts)),
            Throw::Meanwhile(acts) => Some((When::Documents(count.max(1)), acts)),
            Throw::Checkpoint(acts) => Some((When::Checkpoints(self.variant + 1), acts)),
            _ => None,
        }
    }

    fn commits(&self, script: &Script, seen: &Seen) -> Commits {
        let ends_well = seen.exit.success() && matches!(self.fault.throw, Throw::Nothing | Throw::Line(_));
        match self.fault.want.kept {
            Kept::Last | Kept::Any | Kept::Some if ends_well => Commits::All,
            _ => self.wanted_commits(script),
        }
    }

    fn wanted_commits(&self, script: &Script) -> Commits {
        match self.fault.want.kept {
            Kept::All => Commits::All,
            Kept::Nothing => Commits::LastStateBefore(0),
            // What a server has sent may be lost on its way when it dies.
            Kept::Last if !script.mode.wire.has_lines() => Commits::AnyStateBefore(self.place),
            Kept::Last => Commits::LastStateBefore(self.place),
            Kept::Any if matches!(self.fault.throw, Throw::Meanwhile(_)) => Commits::AnyState,
            Kept::Any => Commits::AnyStateBefore(self.place),
            Kept::Some => Commits::AnyState,
        }
    }

    fn check(&self, seen: &Seen, tried: &mut Tried) {
        let want = self.fault.want;
        let exit = seen.exit.code().unwrap_or_else(|| -seen.exit.signal().unwrap_or(0));
        if !want.exits.contains(&exit) {
            tried.wrong.push(format!("it ended with {}, not {:?}: {}", seen.exit, want.exits, seen.last));
        }
        if exit > 0 && !want.is_silent && (seen.last.is_empty() || exit == 1 && !seen.last.contains(want.last)) {
            tried.wrong.push(format!("the last line does not say {:?}: {}", want.last, seen.last));
        }
        if tried.seconds > want.within as f64 {
            tried.wrong.push(format!("it took {:.1} s, longer than {} s", tried.seconds, want.within));
        }
        let is_excused = |rule: &&String| want.stays && (rule.starts_with("files:") || rule.starts_with("orphans:"));
        tried.wrong.extend(seen.wrong.iter().filter(|it| !is_excused(it)).cloned());
    }

    /// Whether a conversation's runtime can do the same.
    fn is_in_a_conversation(&self) -> bool {
        let World { shell, env, shim_yaml, connector, .. } = self.fault.world;
        let is_scripted = matches!(connector, Connector::Script);
        let is_plain = shell.is_empty() && env.is_empty() && shim_yaml.is_none() && is_scripted;
        is_plain && self.hook(0).is_none_or(|(_, acts)| acts.iter().all(|it| as_hook(it).is_some()))
    }
}

/// A runtime's act as conversations write it.
fn as_hook(act: &Act) -> Option<&'static str> {
    match act {
        Act::Signal([Part::Shim], KILL) => Some("KILL"),
        Act::Signal([Part::Shim], TERM) => Some("TERM"),
        Act::Signal([Part::Shim], INT) => Some("INT"),
        Act::CloseStdout => Some("close stdout"),
        _ => None,
    }
}

/// Exit codes as conversations write them.
fn as_exits(exits: &[i32]) -> String {
    let code = |it: &i32| if *it < 0 { "killed".to_owned() } else { it.to_string() };
    exits.iter().map(code).collect::<Vec<_>>().join("|")
}

/// What a session shows of its end.
pub fn of_session(name: String, seen: &Seen) -> Tried {
    Tried {
        name,
        seconds: seen.took.as_secs_f64(),
        exit: show(seen.exit),
        last: seen.last.clone(),
        processes: seen.processes,
        files: seen.files,
        ..Tried::default()
    }
}

/// An exit code or a signal, shortly.
fn show(exit: ExitStatus) -> String {
    match (exit.code(), exit.signal()) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => format!("SIG{signal}"),
        _ => "?".to_owned(),
    }
}
