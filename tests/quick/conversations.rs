//! Runs `fixtures/conversations`: each case scripts a connector and a runtime and lists the expected results. The format is described
//! in `fixtures/README.md`. Each is played in both codecs. `CASE=NAME` plays the cases whose name contains it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use flow_shim::strict::backfills::Backfill;
use flow_shim::strict::reduced;
use regex::Regex;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::runtime::{Answer, Binding, Codec, Document, End, Opening, Runtime, Session, Then, When, repository};

const SECRET: &str = "k3y-of-the-tests";
/// Most cases wait for processes to start, few compute.
const AT_ONCE: usize = 4;

/// Parts that the scripted source reads.
const SCRIPTS: &[&str] = &["spec", "check", "discover", "read", "about", "help"];
const EXPECTATIONS: &[&str] = &[
    "documents",
    "counts",
    "uncommitted",
    "state",
    "answer",
    "received",
    "backfills",
    "checkpoints",
    "exit",
    "last",
    "log",
    "no",
    "within",
    "memory",
];
const SETTINGS: &[&str] =
    &["config", "bindings", "shim", "file", "arguments", "env", "shard", "stdin", "when", "state"];

#[test]
fn every_conversation_matches_its_case() {
    let only = std::env::var("CASE").unwrap_or_default();
    let folder = repository().join("fixtures/conversations");
    let entries = fs::read_dir(&folder).expect("the folder of conversations");
    let mut files: Vec<PathBuf> = entries.map(|it| it.expect("an entry").path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "case") && name_of(it).contains(&only));
    files.sort();
    assert!(!files.is_empty(), "no case in {} is called {only}", folder.display());

    let (queue, failures) = (Mutex::new(files.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(file) = next_of(&queue) {
                    let start = Instant::now();
                    let wrong = Case::read(file).map_or_else(|e| vec![e], |it| it.play_in_both_codecs(file));
                    eprintln!(
                        "{} {} ({:.1?})",
                        if wrong.is_empty() { "ok  " } else { "FAIL" },
                        name_of(file),
                        start.elapsed()
                    );
                    if !wrong.is_empty() {
                        failures.lock().expect("no case panics").push((name_of(file), wrong));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no case panics");
    failures.sort();
    let mut report = String::new();
    for (name, wrong) in &failures {
        let _ = write!(report, "\n\n{name}\n  {}", wrong.join("\n  "));
    }
    assert!(failures.is_empty(), "{} of {} conversations went wrong:{report}\n", failures.len(), files.len());
}

fn next_of<'a>(queue: &Mutex<std::slice::Iter<'a, PathBuf>>) -> Option<&'a PathBuf> {
    queue.lock().expect("no case panics").next()
}

fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

struct Case {
    prologue: Vec<Part>,
    acts: Vec<Act>,
}

struct Act {
    kind: String,
    parts: Vec<Part>,
}

/// `== name argument`, and the lines below it.
struct Part {
    name: String,
    argument: String,
    lines: Vec<String>,
}

impl Case {
    fn read(file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|e| e.to_string())?;
        if text.lines().next().is_none_or(|it| it.trim().is_empty() || it.starts_with('=')) {
            return Err("the case does not start with a description".to_owned());
        }
        let (mut prologue, mut acts) = (Vec::new(), Vec::<Act>::new());
        for line in text.lines() {
            let parts = acts.last_mut().map_or(&mut prologue, |it| &mut it.parts);
            if let Some(kind) = line.strip_prefix("=== ") {
                acts.push(Act { kind: kind.trim().to_owned(), parts: Vec::new() });
            } else if let Some(head) = line.strip_prefix("== ") {
                let (name, argument) = head.split_once(' ').unwrap_or((head, ""));
                if ![SCRIPTS, EXPECTATIONS, SETTINGS].iter().any(|it| it.contains(&name)) {
                    return Err(format!("there is no such part: {line}"));
                }
                parts.push(Part { name: name.to_owned(), argument: argument.trim().to_owned(), lines: Vec::new() });
            } else if let Some(part) = parts.last_mut() {
                part.lines.push(line.to_owned());
            }
        }
        if acts.is_empty() {
            return Err("the case has no act".to_owned());
        }
        Ok(Self { prologue, acts })
    }

    /// Plays the case in JSON and in protobuf and returns one sentence per failure. Messages are equal in both codecs.
    fn play_in_both_codecs(&self, file: &Path) -> Vec<String> {
        let (in_json, mut wrong) = self.play(file, Codec::Json);
        let (in_proto, more) = self.play(file, Codec::Proto);
        wrong.extend(more.into_iter().map(|it| format!("in protobuf: {it}")));
        if wrong.is_empty() {
            for (json, proto) in in_json.iter().zip(&in_proto).filter(|(json, proto)| json != proto) {
                wrong.push(format!("the codecs differ:\n    {json}\n    {proto}"));
            }
        }
        wrong
    }

    /// Plays all acts and returns what each of them said, and one sentence per failure.
    fn play(&self, file: &Path, codec: Codec) -> (Vec<Value>, Vec<String>) {
        let (mut said, mut wrong) = (Vec::new(), Vec::new());
        let mut begun = HashSet::new();
        let mut state = match self.prologue.iter().find(|it| it.name == "state").map(Part::json) {
            None => json!({}),
            Some(Ok(state)) => state,
            Some(Err(e)) => return (said, vec![e]),
        };
        for (index, act) in self.acts.iter().enumerate() {
            let mut found = Vec::new();
            match self.play_act(file, codec, index, (&mut state, &mut begun), &mut found) {
                Ok(it) => said.push(it),
                Err(e) => found.push(e),
            }
            wrong.extend(found.into_iter().map(|it| format!("act {} ({}): {it}", index + 1, act.kind)));
        }
        (said, wrong)
    }

    fn play_act(
        &self,
        file: &Path,
        codec: Codec,
        index: usize,
        (state, begun): (&mut Value, &mut HashSet<usize>),
        wrong: &mut Vec<String>,
    ) -> Result<Value, String> {
        let act = &self.acts[index];
        let folder = TempDir::new().map_err(|e| e.to_string())?;
        let received = folder.path().join("received");
        let runtime = self.runtime(file, index, folder.path(), &received)?.codec(codec);
        let bindings = self.bindings(act)?;
        let (said, end) = match act.kind.as_str() {
            "open" => {
                let session = self.open(act, &runtime, &bindings, state)?.begun(begun.clone()).run();
                check_session(act, &bindings, &session, wrong)?;
                let said = self.what_was_said(act, &session);
                (*state, *begun) = (session.state, session.begun);
                (said, session.end)
            }
            "spec" => check_answer(act, runtime.ask_spec(), "spec", wrong)?,
            "discover" => check_answer(act, runtime.ask_discover(), "discovered", wrong)?,
            "validate" => check_answer(act, runtime.ask_validate(&bindings), "validated", wrong)?,
            "apply" => {
                let (said, end) = check_answer(act, runtime.ask_apply(&bindings, state), "applied", wrong)?;
                if let Some(change) = said.pointer("/0/applied/state") {
                    *state = reduced(state.take(), change);
                    if runtime.apply(&bindings, state.clone()) != *state {
                        wrong.push("F21: a second Apply changes the state again".to_owned());
                    }
                }
                act.all("state").try_for_each(|it| check_pointers(it, state, wrong))?;
                (said, end)
            }
            other => return Err(format!("{other} is not a request")),
        };
        let given = collect_received(&received);
        for part in act.all("received") {
            check_pointers(part, &given, wrong)?;
        }
        let before = wrong.len();
        check_end(act, &end, wrong)?;
        if !wrong.is_empty() && before > 0 || wrong.len() > before {
            wrong.extend(
                end.logs
                    .iter()
                    .rev()
                    .take(8)
                    .rev()
                    .map(|it| format!("  log: {}", &it.line.chars().take(400).collect::<String>())),
            );
        }
        Ok(said)
    }

    /// What a capture said, as far as it does not depend on when a hook interfered.
    fn what_was_said(&self, act: &Act, session: &Session) -> Value {
        if self.all(act, "when").next().is_some() {
            return Value::Null;
        }
        let documents: Vec<_> = session.documents.iter().map(|it| json!([it.binding, it.text])).collect();
        let backfills: Vec<_> = session.backfills.iter().map(|it| format!("{it:?}")).collect();
        json!([documents, session.state, session.sourced_schemas, backfills])
    }

    fn runtime(&self, file: &Path, index: usize, folder: &Path, received: &Path) -> Result<Runtime, String> {
        let act = &self.acts[index];
        let mut arguments: Vec<String> = self.all(act, "arguments").flat_map(Part::texts).map(str::to_owned).collect();
        let shim = folder.join("shim");
        let yaml = self.all(act, "shim").last().map(|it| ("shim.yaml", it));
        for (name, part) in self.all(act, "file").map(|it| (it.argument.as_str(), it)).chain(yaml) {
            let path = shim.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&shim)).map_err(|e| e.to_string())?;
            fs::write(&path, part.lines.join("\n")).map_err(|e| e.to_string())?;
        }
        if shim.exists() {
            arguments.extend(["--shim".to_owned(), shim.to_string_lossy().into_owned()]);
        }
        let source = repository().join("fixtures/scripted-source");
        let nth = (index + 1).to_string();
        let rest = [
            "--".as_ref(),
            source.as_os_str(),
            "--act".as_ref(),
            nth.as_ref(),
            "--received".as_ref(),
            received.as_os_str(),
            file.as_os_str(),
        ];
        arguments.extend(rest.iter().map(|it| it.to_string_lossy().into_owned()));
        let config = self.all(act, "config").last().map_or_else(|| Ok(json!({"api_key": SECRET})), Part::json)?;
        let mut runtime = Runtime::shim(arguments).config(config).secret(SECRET);
        // A test with a time limit fails soon after the limit.
        if let Some(part) = act.one("within") {
            runtime = runtime.patience(Duration::from_secs(number::<u64>(&part.argument)? + 5));
        }
        for line in self.all(act, "env").flat_map(Part::texts) {
            let (name, value) = line.split_once('=').ok_or_else(|| format!("no env: {line}"))?;
            runtime = runtime.env(name, value);
        }
        Ok(runtime)
    }

    fn bindings(&self, act: &Act) -> Result<Vec<Binding>, String> {
        let part = self.all(act, "bindings").last();
        part.map_or_else(|| Ok(Vec::new()), |it| it.texts().map(parse_binding).collect())
    }

    fn open<'a>(
        &self,
        act: &Act,
        runtime: &'a Runtime,
        bindings: &[Binding],
        state: &Value,
    ) -> Result<Opening<'a>, String> {
        let mut opening = runtime.open(bindings, state);
        for part in self.all(act, "when") {
            let (when, then) = part.argument.rsplit_once(": ").ok_or("a hook is `when THIS: THAT`")?;
            let (what, much) =
                when.split_once(' ').ok_or("a hook waits for `documents N`, `checkpoints N` or `log REGEX`")?;
            let when = match what {
                "documents" => When::Documents(number(much)?),
                "checkpoints" => When::Checkpoints(number(much)?),
                "log" => When::Log(regex(much)?),
                _ => return Err(format!("a hook cannot wait for {what}")),
            };
            let then = match then {
                "TERM" => Then::Signal(Signal::TERM),
                "INT" => Then::Signal(Signal::INT),
                "KILL" => Then::Signal(Signal::KILL),
                "close stdout" => Then::CloseStdout,
                _ => return Err(format!("a hook cannot do {then}")),
            };
            opening = opening.when(when, then);
        }
        if self.all(act, "stdin").any(|it| it.argument == "closed") {
            opening = opening.close_stdin();
        }
        if let Some(part) = self.all(act, "shard").last() {
            let (index, count) = part.argument.split_once('/').ok_or("a shard is `1/2`")?;
            opening = opening.shard(number(index)?, number(count)?);
        }
        Ok(opening)
    }

    /// The parts called `name`: first those of the prologue, then those of the act.
    fn all<'a>(&'a self, act: &'a Act, name: &'a str) -> impl Iterator<Item = &'a Part> {
        self.prologue.iter().filter(move |it| it.name == name).chain(act.all(name))
    }
}

impl Act {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Part> {
        self.parts.iter().filter(move |it| it.name == name)
    }

    fn one(&self, name: &str) -> Option<&Part> {
        self.parts.iter().rfind(|it| it.name == name)
    }
}

impl Part {
    fn texts(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str).filter(|it| !it.trim().is_empty())
    }

    fn json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.lines.join("\n")).map_err(|e| format!("part {}: {e}", self.name))
    }
}

/// `NAME MODE [key=/id,/at] [backfill=N] [namespace=NS]`, or a resource config as JSON with the same options.
fn parse_binding(line: &str) -> Result<Binding, String> {
    let (mut binding, rest) = if line.starts_with('{') {
        let mut values = serde_json::Deserializer::from_str(line).into_iter::<Value>();
        let resource = values.next().and_then(Result::ok).ok_or_else(|| format!("no resource config: {line}"))?;
        (Binding::of_resource(resource), &line[values.byte_offset()..])
    } else {
        let mut words = line.splitn(3, ' ');
        let (Some(stream), Some(mode)) = (words.next(), words.next()) else {
            return Err(format!("no binding: {line}"));
        };
        let is_singers = mode.starts_with(|it: char| it.is_ascii_uppercase());
        let method = || Binding::of_resource(json!({"stream": stream, "replicationMethod": mode}));
        (if is_singers { method() } else { Binding::new(stream, mode) }, words.next().unwrap_or(""))
    };
    for option in rest.split_whitespace() {
        match option.split_once('=') {
            Some(("key", pointers)) => binding = binding.key(pointers.split(',')),
            Some(("backfill", counter)) => binding = binding.backfill(number(counter)?),
            Some(("namespace", it)) => binding.resource["namespace"] = json!(it),
            _ => return Err(format!("a binding has no option {option}")),
        }
    }
    Ok(binding)
}

fn check_answer(act: &Act, answer: Answer, kind: &str, wrong: &mut Vec<String>) -> Result<(Value, End), String> {
    if act.one("exit").is_none() {
        match answer.body(kind) {
            Ok(body) => act.all("answer").try_for_each(|it| check_pointers(it, body, wrong))?,
            Err(why) => wrong.push(why),
        }
    } else if !answer.responses.is_empty() {
        wrong.push(format!("a request that fails was answered: {}", json!(answer.responses)));
    }
    let mut said = json!(answer.responses);
    // Protobuf has no empty values.
    if let Some(oauth2) = said.pointer_mut("/0/spec/oauth2").and_then(Value::as_object_mut) {
        oauth2.retain(|_, it| ![json!(""), json!({})].contains(it));
    }
    Ok((said, answer.end))
}

fn check_session(act: &Act, bindings: &[Binding], session: &Session, wrong: &mut Vec<String>) -> Result<(), String> {
    let show = |it: &Document| format!("{} {}", bindings[it.binding].name(), it.text);
    if let Some(part) = act.one("documents") {
        let (wanted, got): (Vec<_>, Vec<_>) =
            (part.texts().map(str::to_owned).collect(), session.documents.iter().map(show).collect());
        if let Some(at) = (0..wanted.len().max(got.len())).find(|it| wanted.get(*it) != got.get(*it)) {
            let text = |it: Option<&String>| it.map_or("nothing".to_owned(), |it| it.chars().take(500).collect());
            wrong.push(format!("document {} of {} is {}", at + 1, got.len(), text(got.get(at))));
            wrong.push(format!("     instead of {} ({} wanted)", text(wanted.get(at)), wanted.len()));
        }
    }
    for line in act.one("counts").into_iter().flat_map(Part::texts) {
        let (name, count) = line.rsplit_once(' ').ok_or_else(|| format!("no count: {line}"))?;
        let got = session.documents.iter().filter(|it| bindings[it.binding].name() == name).count();
        if got != number::<usize>(count)? {
            wrong.push(format!("{got} documents of {name} were committed, not {count}"));
        }
    }
    if let Some(part) = act.one("uncommitted")
        && session.uncommitted.len() != number::<usize>(&part.argument)?
    {
        wrong.push(format!("{} documents were not committed, not {}", session.uncommitted.len(), part.argument));
    }
    if let Some(part) = act.one("checkpoints") {
        let (low, high) = part.argument.split_once("..").unwrap_or((&part.argument, &part.argument));
        let low = if low.is_empty() { 0 } else { number(low)? };
        let high = if high.is_empty() { usize::MAX } else { number(high)? };
        if !(low..=high).contains(&session.checkpoints) {
            wrong.push(format!("{} checkpoints, not {}", session.checkpoints, part.argument));
        }
    }
    let backfills: Vec<String> = session.backfills.iter().map(|it| show_backfill(it, bindings)).collect();
    if let Some(part) = act.one("backfills")
        && !part.texts().eq(&backfills)
    {
        wrong.push(format!("the backfills are {backfills:?}"));
    }
    // An idle shard commits nothing.
    if act.one("exit").is_none() && session.checkpoints > 0 {
        let has_one = |it: &usize| session.sourced_schemas.iter().any(|(binding, _)| binding == it);
        let lack = (0..bindings.len()).filter(|it| !has_one(it));
        wrong.extend(lack.map(|it| format!("F12: {} got no sourced schema", bindings[it].name())));
    }
    act.all("state").try_for_each(|it| check_pointers(it, &session.state, wrong))
}

/// `begin views`, `complete views after 4`: the number of documents committed before it.
fn show_backfill(it: &Backfill, bindings: &[Binding]) -> String {
    let step = format!("{:?}", it.step).to_lowercase();
    let after = if it.after > 0 { format!(" after {}", it.after) } else { String::new() };
    format!("{step} {}{after}", bindings[it.binding].name())
}

fn check_end(act: &Act, end: &End, wrong: &mut Vec<String>) -> Result<(), String> {
    wrong.extend(end.broken.iter().cloned());
    let wanted = act.one("exit").map_or("0", |it| it.argument.as_str());
    let mut as_wanted = false;
    for wanted in wanted.split('|') {
        as_wanted |= match wanted {
            "failed" => end.exit.code().is_some_and(|it| it != 0),
            "killed" => end.exit.code().is_none(),
            code => end.exit.code() == Some(number(code)?),
        };
    }
    if !as_wanted {
        wrong.push(format!("exit: {}, not {wanted}; the last log says: {}", end.exit, end.last_message()));
    }
    for part in act.all("last") {
        let pattern = part.argument.strip_prefix("log ").ok_or("it is `last log REGEX`")?;
        if !regex(pattern)?.is_match(end.last_message()) {
            wrong.push(format!("the last log does not match {pattern}: {}", end.last_message()));
        }
    }
    for part in act.all("log") {
        let pattern = regex(&part.argument)?;
        if !end.logs.iter().any(|it| pattern.is_match(&it.line)) {
            wrong.push(format!("no log line matches {pattern}"));
        }
    }
    for part in act.all("no") {
        let pattern = regex(part.argument.strip_prefix("log ").ok_or("it is `no log REGEX`")?)?;
        if let Some(line) = end.logs.iter().find(|it| pattern.is_match(&it.line)) {
            wrong.push(format!("a log line matches {pattern}: {}", line.line.chars().take(300).collect::<String>()));
        }
    }
    if let Some(part) = act.one("within") {
        let limit = Duration::from_secs(number(&part.argument)?);
        if end.took > limit {
            wrong.push(format!("it took {:.1?}, longer than {limit:?}", end.took));
        }
    }
    if let Some(part) = act.one("memory") {
        let megabytes = end.peak_memory / 1_000_000;
        if megabytes > number::<u64>(&part.argument)? {
            wrong.push(format!("the shim took {megabytes} MB of memory, more than {}", part.argument));
        }
    }
    Ok(())
}

/// Lines of `/POINTER JSON`, `/POINTER absent` or `/POINTER ~ REGEX`; `.` is the whole value.
fn check_pointers(part: &Part, value: &Value, wrong: &mut Vec<String>) -> Result<(), String> {
    for line in part.texts() {
        let (pointer, wanted) = line.split_once(' ').ok_or_else(|| format!("no expectation: {line}"))?;
        let got = value.pointer(if pointer == "." { "" } else { pointer });
        let as_wanted = match (wanted, got) {
            ("absent", got) => got.is_none(),
            (_, None) => false,
            (wanted, Some(got)) => match wanted.strip_prefix("~ ") {
                Some(pattern) => regex(pattern)?.is_match(&got.to_string()),
                // Numbers are compared as text: a connector's state must be returned unchanged.
                None => *got == serde_json::from_str::<Value>(wanted).map_err(|e| format!("{line}: {e}"))?,
            },
        };
        if !as_wanted {
            let got = got.map_or("absent".to_owned(), Value::to_string);
            wrong.push(format!(
                "{}: {pointer} is {}, not {wanted}",
                part.name,
                got.chars().take(600).collect::<String>()
            ));
        }
    }
    Ok(())
}

/// The arguments and files of the scripted source by command; JSON files are parsed.
fn collect_received(folder: &Path) -> Value {
    let mut all = json!({});
    for command in fs::read_dir(folder).into_iter().flatten().flatten() {
        let mut given = json!({});
        for file in fs::read_dir(command.path()).into_iter().flatten().flatten() {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            given[file.file_name().to_string_lossy().as_ref()] =
                serde_json::from_str(&text).unwrap_or(Value::String(text));
        }
        if let Value::Object(call) = given["call"].take() {
            given.as_object_mut().expect("made as one").extend(call);
        }
        all[command.file_name().to_string_lossy().as_ref()] = given;
    }
    all
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("no number: {text}"))
}

fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|e| e.to_string())
}
