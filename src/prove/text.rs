//! Renders the report as text, for one screen.

use console::{Alignment, Style};

use super::report::{KillReport, Made, Promise, Report, StreamReport, Verdict, names};
use crate::terminal::figures::{columns, count, plural};
use crate::terminal::printable;

pub fn render(report: &Report) -> String {
    let connector = match (&report.connector.command, &report.connector.image) {
        (Some(command), _) => shell_words::join(command),
        (_, image) => image.clone().unwrap_or_default(),
    };
    let about = [
        ("Connector", format!("{connector} ({})", report.connector.protocol)),
        ("Runs", runs(&report.runs)),
        ("Verdict", verdict(report)),
    ];
    let about: Vec<_> = about.map(|(name, text)| vec![bold(name), text]).to_vec();
    let mut lines = columns(&about, &[Alignment::Left; 2]);
    section(&mut lines, "Streams");
    let mut rows = vec![["  stream", "documents", "verdict", "remarks"].map(str::to_owned).to_vec()];
    rows.extend(report.streams.iter().map(|it| stream(it, report.runs.ended_by.is_some())));
    lines.extend(columns(&rows, &[Alignment::Left, Alignment::Right, Alignment::Left, Alignment::Left]));
    section(&mut lines, "The connector");
    let rows: Vec<_> = report.promises.iter().map(promise).collect();
    lines.extend(columns(&rows, &[Alignment::Left; 2]));
    list(&mut lines, "flow-shim made up for", &report.made_up_for);
    list(&mut lines, "Kills", &report.kills.iter().map(kill).collect::<Vec<_>>());
    list(&mut lines, "Broken rules of Flow", &report.broken_rules);
    lines.join("\n") + "\n"
}

fn bold(text: &str) -> String {
    Style::new().bold().apply_to(text).to_string()
}

fn section(lines: &mut Vec<String>, title: &str) {
    lines.extend([String::new(), bold(title)]);
}

fn list(lines: &mut Vec<String>, title: &str, all: &[String]) {
    if !all.is_empty() {
        section(lines, title);
        lines.extend(all.iter().map(|it| format!("  {it}")));
    }
}

fn runs(made: &Made) -> String {
    let mut parts = vec![format!("{} undisturbed", made.undisturbed)];
    if made.continued > 0 {
        parts.push("1 from the final state".to_owned());
    }
    parts.push(format!("{} killed and resumed", made.killed));
    let ended = match made.ended_by {
        Some("timeout") => "; ended by the --timeout".to_owned(),
        Some(_) => format!("; ended by the --limit of {}", documents(made.limit)),
        None => String::new(),
    };
    let stopped = if made.stopped { "; stopped: not complete" } else { "" };
    format!("{}{ended}{stopped}", parts.join(", "))
}

fn documents(number: u64) -> String {
    plural(number as usize, "document")
}

fn verdict(report: &Report) -> String {
    let style = Style::new();
    let (style, text) = match report.verdict {
        Verdict::NothingLost if report.duplicated() > 0 => {
            let rows = plural(report.duplicated(), "row");
            (style.yellow(), format!("nothing was lost; {rows} came twice, without a key to merge them"))
        }
        Verdict::NothingLost => (style.green(), "nothing was lost".to_owned()),
        Verdict::Lost if report.lost() > 0 => (style.red(), format!("{} lost", plural(report.lost(), "document"))),
        Verdict::Lost => (style.red(), "documents ended out of order".to_owned()),
        Verdict::Failed => {
            (style.red(), format!("the capture fails: {}", report.failure.as_deref().unwrap_or("it gave no reason")))
        }
        Verdict::RulesBroken => (style.red(), "nothing was lost, but rules of Flow were broken".to_owned()),
        Verdict::Unproven => (style.yellow(), "not proven".to_owned()),
        Verdict::Empty => (style.yellow(), "not proven: there were no documents".to_owned()),
    };
    style.bold().apply_to(text).to_string()
}

/// `is_cut`: the runs did not end by themselves.
fn stream(it: &StreamReport, is_cut: bool) -> Vec<String> {
    let verdict = match it.verdict {
        Verdict::NothingLost => "nothing lost".to_owned(),
        Verdict::Lost if it.lost > 0 => format!("{} lost", count(it.lost as u64)),
        Verdict::Lost => "out of order".to_owned(),
        Verdict::Empty if is_cut => "not reached".to_owned(),
        Verdict::Empty => "no documents".to_owned(),
        _ => "not proven".to_owned(),
    };
    let mut remarks = Vec::new();
    match it.resumes {
        Some(true) => remarks.push("resumes".to_owned()),
        Some(false) => remarks.push("starts over".to_owned()),
        None => {}
    }
    if it.repeated > 0 {
        let how = if it.is_by_row_id() { "twice" } else { "repeated" };
        remarks.push(format!("{} {how}", count(it.repeated as u64)));
    }
    if it.out_of_order > 0 {
        remarks.push(format!("{} out of order", plural(it.out_of_order, "key")));
    }
    if it.unknown > 0 {
        remarks.push(format!("{} not seen again before the end of a run", count(it.unknown as u64)));
    }
    if let Some(place) = &it.differs_from_schema {
        remarks.push(format!("differs from its schema: {place}"));
    }
    let remarks = printable(&remarks.join(", "));
    vec![format!("  {}", printable(&it.name)), count(it.documents as u64), verdict, remarks]
}

fn promise(it: &Promise) -> Vec<String> {
    let style = Style::new();
    let kept = match it.kept {
        Some(true) => style.green().apply_to("yes"),
        Some(false) => style.red().apply_to("no"),
        None => style.dim().apply_to("?"),
    };
    let text = match it.name {
        "stateAfterRecords" => "a state follows the records that it covers",
        "resumesFromItsState" => "it continues from its state",
        "sameOrder" => "two undisturbed runs have the same order",
        "sameValues" => "two undisturbed runs have the same values",
        "matchesItsSchema" => "records match the schema that it declares",
        "endsByItself" => "a sync ends by itself",
        "noSecretsInLogs" => "its log lines show no secret",
        name => name,
    };
    let streams = if it.streams.is_empty() { String::new() } else { format!(" ({})", printable(&names(&it.streams))) };
    vec![format!("  {kept}"), format!("{text}{streams}")]
}

fn kill(it: &KillReport) -> String {
    let place = if it.at_checkpoint { "at a checkpoint after" } else { "after" };
    let start = format!("{} {place} {}", it.killed, documents(it.after_documents));
    if !it.took_effect {
        return format!("{start}: too late, the run had ended");
    }
    let uncommitted = match it.uncommitted {
        0 => String::new(),
        count => format!(", {} not yet", self::count(count)),
    };
    let lost = if it.lost > 0 { format!("; {} lost", count(it.lost as u64)) } else { String::new() };
    format!("{start}: {} committed{uncommitted}; the next run read {}{lost}", count(it.committed), count(it.resumed))
}

#[cfg(test)]
mod tests {
    use super::super::report::Connector;
    use super::*;

    fn stream(name: &str, verdict: Verdict, key: &str) -> StreamReport {
        StreamReport {
            name: name.to_owned(),
            key: vec![key.to_owned()],
            verdict,
            documents: 1_234,
            lost: 0,
            unknown: 0,
            repeated: 0,
            out_of_order: 0,
            resumes: None,
            same_order: None,
            same_values: None,
            differs_from_schema: None,
        }
    }

    #[test]
    fn all_that_can_be_wrong_is_readable() {
        console::set_colors_enabled(false);
        let promise = |name, kept, streams: &[&str]| Promise {
            name,
            kept,
            streams: streams.iter().map(|it| (*it).to_owned()).collect(),
        };
        let kill = |took_effect| KillReport {
            killed: "connector",
            after_documents: 1_200,
            at_checkpoint: took_effect,
            took_effect,
            committed: 1_200,
            uncommitted: 7,
            resumed: 5,
            lost: 3,
        };
        let report = Report {
            connector: Connector { protocol: "singer", command: None, image: Some("acme/tap:v1".to_owned()) },
            verdict: Verdict::Lost,
            failure: None,
            runs: Made {
                undisturbed: 3,
                continued: 1,
                killed: 2,
                limit: 5_000,
                ended_by: Some("limit"),
                stopped: true,
            },
            streams: vec![
                StreamReport {
                    lost: 3,
                    unknown: 2,
                    repeated: 4,
                    resumes: Some(false),
                    ..stream("orders", Verdict::Lost, "/id")
                },
                StreamReport { out_of_order: 2, resumes: Some(true), ..stream("users", Verdict::Lost, "/id") },
                StreamReport { repeated: 9, ..stream("views", Verdict::NothingLost, "/_meta/row_id") },
                StreamReport { documents: 0, ..stream("events", Verdict::Empty, "/id") },
                StreamReport {
                    differs_from_schema: Some("type at /a".to_owned()),
                    ..stream("tags", Verdict::Unproven, "/id")
                },
            ],
            promises: vec![
                promise("stateAfterRecords", Some(false), &["orders", "users", "views", "events", "tags"]),
                promise("endsByItself", None, &[]),
            ],
            made_up_for: Vec::new(),
            kills: vec![kill(false), kill(true)],
            broken_rules: vec!["F6: a log line is not JSON".to_owned()],
        };
        insta::assert_snapshot!(render(&report));
        let verdict_of = |verdict, failure: Option<&str>| {
            let failure = failure.map(str::to_owned);
            self::verdict(&Report { verdict, failure, streams: vec![stream("a", verdict, "/id")], ..empty() })
        };
        assert_eq!(verdict_of(Verdict::Failed, Some("no access")), "the capture fails: no access");
        assert_eq!(verdict_of(Verdict::NothingLost, None), "nothing was lost");
    }

    fn empty() -> Report {
        Report {
            connector: Connector { protocol: "airbyte", command: None, image: None },
            verdict: Verdict::Empty,
            failure: None,
            runs: Made { undisturbed: 2, continued: 1, killed: 0, limit: 1, ended_by: None, stopped: false },
            streams: Vec::new(),
            promises: Vec::new(),
            made_up_for: Vec::new(),
            kills: Vec::new(),
            broken_rules: Vec::new(),
        }
    }
}
