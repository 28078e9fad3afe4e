//! The summary table at the end of a preview.

use console::{Alignment, Style};
use serde_json::{Value, json};

use super::tally::{Stream, Tally};
use crate::logging::{self, Level};
use crate::terminal::Screen;
use crate::terminal::figures::{columns, count, plural, size};

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
        screen.print(&lines(tally, seconds));
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

fn lines(tally: &Tally, seconds: f64) -> Vec<String> {
    let row = |name: &str, [documents, deletes, bytes, checkpoints]: [u64; 4], note: String| {
        vec![name.to_owned(), count(documents), count(deletes), size(bytes), count(checkpoints), note]
    };
    let shown = |it: &&Stream| tally.streams.len() <= ALL || it.documents.get() > 0;
    let figures = |it: &Stream| [&it.documents, &it.deletes, &it.bytes, &it.checkpoints].map(|it| it.get());
    let head = ["stream", "documents", "deletes", "bytes", "checkpoints", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(tally.streams.iter().filter(shown).map(|it| row(&it.name, figures(it), String::new())));
    let hidden = tally.streams.len() + 1 - rows.len();
    if hidden > 0 {
        rows.push(row(&format!("{hidden} more streams"), [0; 4], String::new()));
    }
    let of = |of: fn(&Stream) -> &super::tally::Count| tally.total(of);
    let total = [of(|it| &it.documents), of(|it| &it.deletes), of(|it| &it.bytes)];
    let checkpoints = usize::try_from(tally.checkpoints.get()).unwrap_or(usize::MAX);
    let mut total = row("total", [total[0], total[1], total[2], 0], format!("in {seconds:.1} s"));
    // Not the column's sum: a checkpoint can commit documents of several streams, or of none.
    total[4].clear();
    total[5] += &format!(", {}", plural(checkpoints, "checkpoint"));
    rows.push(total);

    let right = Alignment::Right;
    let mut lines = columns(&rows, &[Alignment::Left, right, right, right, right, Alignment::Left]);
    let width = lines.iter().take(1).map(|it| console::measure_text_width(it)).max().unwrap_or_default();
    let (bold, dim) = (Style::new().for_stderr().bold(), Style::new().for_stderr().dim());
    let rule = dim.apply_to("─".repeat(width)).to_string();
    if let (Some(head), Some(total)) = (rows.first().and(lines.first().cloned()), lines.pop()) {
        lines[0] = bold.apply_to(head).to_string();
        lines.insert(1, rule.clone());
        lines.extend([rule, bold.apply_to(total).to_string()]);
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
        insta::assert_snapshot!(lines(&tally, 12.345).join("\n"));
    }

    #[test]
    fn of_many_streams_only_those_with_documents_are_shown() {
        console::set_colors_enabled_stderr(false);
        let tally = Tally::new((0..300).map(|it| (format!("stream_{it}"), String::new())));
        tally.streams[7].documents.set(5);
        insta::assert_snapshot!(lines(&tally, 0.0).join("\n"));
    }
}
