//! Rotated tokens whose services misbehave: nothing waits without a limit, and a token that is lost is named.

use serde_json::json;

use super::fault::few;
use super::report::Tried;
use super::script::MODES;
use super::session::{Desk, SECRET, Setup};
use super::tries::of_session;
use crate::services::{Answer, ENCRYPT_CONFIG, Services};

const ROTATED: &str = "r0tated-t0ken";

/// What the service does to so many requests, the connector's end, and the exit code.
type Case = (&'static str, usize, fn() -> Answer, &'static str, i32);

const CASES: [Case; 6] = [
    ("answers", 0, || Answer::Well, "%exit 0", 0),
    ("hangs once", 1, || Answer::Hang, "%exit 0", 0),
    ("closes in mid-answer once", 1, || Answer::Broken, "%exit 0", 0),
    ("fails always", usize::MAX, || Answer::Status(500, "no".to_owned()), "%exit 0", 1),
    ("hangs always, SIGTERM", usize::MAX, || Answer::Hang, "%shell kill -TERM $SHIM", 1),
    ("closes always, SIGTERM", usize::MAX, || Answer::Broken, "%shell kill -TERM $SHIM", 1),
];

pub fn tries(most: usize) -> Vec<Tried> {
    let mode = &MODES[0];
    let control = json!({"type": "CONTROL", "control": {"type": "CONNECTOR_CONFIG", "emitted_at": 1,
        "connectorConfig": {"config": {"api_key": ROTATED}}}});
    CASES
        .iter()
        .take(few(most))
        .map(|(name, times, answer, end, code)| {
            let (times, answer) = (*times, *answer);
            let services = Services::start(move |_, earlier| if earlier < times { answer() } else { Answer::Well });
            let desk = Desk::new();
            let wait = if end.contains("TERM") { "%wait" } else { "" };
            let lines =
                [mode.wire.row("alpha", json!({"id": 1})), mode.wire.state(0, &[1, 0], mode.states), control.clone()];
            let lines: Vec<String> =
                lines.iter().map(ToString::to_string).chain([(*end).to_owned(), wait.to_owned()]).collect();
            let case = desk.case(mode, &lines);
            let env = vec![("ENCRYPTION_URL".to_owned(), format!("{}{ENCRYPT_CONFIG}", services.url))];
            let secrets = vec![SECRET.to_owned(), ROTATED.to_owned()];
            let seen = Setup { env, secrets, ..Setup::new(mode, &desk, &case) }.run();
            let mut tried = of_session((*name).to_owned(), &seen);
            if seen.exit.code() != Some(*code) || seen.documents.len() != 1 {
                tried.wrong.push(format!("{name}: {}, {} documents: {}", seen.exit, seen.documents.len(), seen.last));
            }
            if *code == 1 && !seen.last.contains("api_key") {
                tried.wrong.push(format!("{name}: the last line does not name the field: {}", seen.last));
            }
            // The connector's start and discovery come before the signal.
            let limit = if end.contains("TERM") { 13.0 } else { 40.0 };
            if tried.seconds > limit {
                tried.wrong.push(format!("{name}: it took {:.1} s", tried.seconds));
            }
            tried.wrong.extend(seen.wrong);
            tried
        })
        .collect()
}
