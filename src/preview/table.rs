//! The summary table at the end of a preview.

use console::{Alignment, Style, Term, measure_text_width, pad_str};
use serde_json::{Value, json};

use super::tally::{Stream, Tally};
use crate::logging::{self, Level};
use crate::terminal::figures::{columns, count, plural, size};
use crate::terminal::{Screen, printable};

/// With more streams than this, those without documents are summarised in one line.
const ALL: usize = 30;

/// Prints the table or, with JSON logs, logs the same figures.
pub fn show(tally: &Tally, screen: &Screen) {
    let seconds = tally.start.elapsed().as_secs_f64();
    if screen.is_json() {
        let documents = tally.total(|it| &it.documents);
        let message = format!("captured {documents} documents from {}", plural(tally.streams.len(), "stream"));
        logging::emit(
            Level::Info,
            &message,
            logging::fields([
                ("documents", documents.into()),
                ("checkpoints", tally.checkpoints.get().into()),
                ("seconds", seconds.into()),
                ("streams", tally.streams.iter().map(figures).collect()),
            ]),
        );
    } else {
        let term = Term::stderr();
        screen.print(&lines(tally, seconds, term.is_term().then(|| usize::from(term.size().1))));
    }
}

fn figures(it: &Stream) -> Value {
    json!({
        "stream": it.name,
        "documents": it.documents.get(),
        "deletes": it.deletes.get(),
        "bytes": it.bytes.get(),
        "checkpoints": it.checkpoints.get(),
    })
}

/// The columns that a narrow terminal has no room for, the least important first.
const DISPENSABLE: [usize; 3] = [4, 2, 3];

/// If the table is wider than `width`, columns are left out; the name and the count stay.
fn lines(tally: &Tally, seconds: f64, width: Option<usize>) -> Vec<String> {
    let row = |name: &str, [documents, deletes, bytes, checkpoints]: [u64; 4]| {
        vec![printable(name), count(documents), count(deletes), size(bytes), count(checkpoints)]
    };
    let shown = |it: &&Stream| tally.streams.len() <= ALL || it.documents.get() > 0;
    let figures = |it: &Stream| [&it.documents, &it.deletes, &it.bytes, &it.checkpoints].map(|it| it.get());
    let head = ["stream", "documents", "deletes", "bytes", "checkpoints"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(tally.streams.iter().filter(shown).map(|it| row(&it.name, figures(it))));
    let hidden = tally.streams.len() + 1 - rows.len();
    if hidden > 0 {
        rows.push(row(&format!("{hidden} more streams"), [0; 4]));
    }
    let of = |of: fn(&Stream) -> &super::tally::Count| tally.total(of);
    let total = [of(|it| &it.documents), of(|it| &it.deletes), of(|it| &it.bytes)];
    let checkpoints = usize::try_from(tally.checkpoints.get()).unwrap_or(usize::MAX);
    let mut total = row("total", [total[0], total[1], total[2], 0]);
    // Not the column's sum: a checkpoint can commit documents of several streams, or of none.
    total[4].clear();
    rows.push(total);

    let right = Alignment::Right;
    let aligned = |rows: &[Vec<String>]| columns(rows, &[Alignment::Left, right, right, right, right]);
    let widest = |lines: &[String]| lines.iter().map(|it| measure_text_width(it)).max().unwrap_or_default();
    let mut lines = aligned(&rows);
    for column in DISPENSABLE {
        if width.is_some_and(|width| widest(&lines) > width) {
            rows.iter_mut().for_each(|it| it[column].clear());
            lines = aligned(&rows);
        }
    }
    let across = widest(&lines);
    let note = format!("in {seconds:.1} s, {}", plural(checkpoints, "checkpoint"));
    let note = match lines.last_mut() {
        Some(total) if width.is_none_or(|width| across + 2 + note.len() <= width) => {
            *total = format!("{}  {note}", pad_str(total, across, Alignment::Left, None));
            None
        }
        _ => Some(note),
    };
    let (bold, dim) = (Style::new().for_stderr().bold(), Style::new().for_stderr().dim());
    let rule = dim.apply_to("─".repeat(across)).to_string();
    if let (Some(head), Some(total)) = (rows.first().and(lines.first().cloned()), lines.pop()) {
        lines[0] = bold.apply_to(head).to_string();
        lines.insert(1, rule.clone());
        lines.extend([rule, bold.apply_to(total).to_string()]);
        lines.extend(note);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned() {
        console::set_colors_enabled_stderr(false);
        let tally = Tally::new(["customers", "public/orders", "empty"].map(|it| (it.into(), it.into())).into_iter());
        for (index, documents, deletes, bytes, checkpoints) in
            [(0, 100, 0, 21_300, 1), (1, 1_234_567, 89, 1 << 30, 1235)]
        {
            let stream = &tally.streams[index];
            stream.documents.set(documents);
            stream.deletes.set(deletes);
            stream.bytes.set(bytes);
            stream.checkpoints.set(checkpoints);
        }
        tally.checkpoints.set(1237);
        let at = |width| {
            let lines = lines(&tally, 12.345, Some(width));
            assert!(lines.iter().all(|it| measure_text_width(it) <= width), "{width}");
            format!("{width}\n{}", lines.join("\n"))
        };
        insta::assert_snapshot!([90, 60, 50, 30].map(at).join("\n\n"));
    }

    #[test]
    fn of_many_streams_only_those_with_documents_are_shown() {
        console::set_colors_enabled_stderr(false);
        let tally = Tally::new((0..300).map(|it| (format!("stream_{it}"), String::new())));
        tally.streams[7].documents.set(5);
        insta::assert_snapshot!(lines(&tally, 0.0, None).join("\n"));
    }
}
