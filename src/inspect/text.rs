//! Renders the report as text.

use console::{Alignment, Style, Term, measure_text_width, pad_str, truncate_str};
use serde_json::Value;

use super::config::{Branch, Field};
use super::streams::{Stream, Totals};
use super::{Report, Rewrite};
use crate::terminal::figures::{columns, plural, wrapped};
use crate::terminal::printable;

/// The maximum number of locations listed per change.
const PLACES: usize = 3;

/// The maximum number of allowed values listed per field.
const VALUES: usize = 6;

/// Renders the report; `has_config` explains why streams are missing.
pub fn render(report: &Report, has_config: bool) -> String {
    let mut lines = about(report);
    section(&mut lines, "Config");
    let mut rows = Vec::new();
    report.config.fields.iter().for_each(|it| field_rows(it, 1, &mut rows));
    lines.extend(match rows.as_slice() {
        [] => vec!["  no fields".to_owned()],
        rows => described(rows, width()),
    });
    section(&mut lines, "Streams");
    lines.extend(match (&report.streams, has_config) {
        (Some(streams), _) => stream_lines(streams, width()),
        (None, true) => vec!["  discovery failed with this config".to_owned()],
        (None, false) => vec!["  unknown: use --config FILE, or add a config.json next to shim.yaml".to_owned()],
    });
    section(&mut lines, "Changes to the config schema for Flow");
    lines.extend(rewrites(report.config.rewritten.iter().map(|it| (None, it))));
    if let Some(streams) = &report.streams {
        section(&mut lines, "Changes to the streams' schemas for Flow");
        lines.extend(rewrites(streams.iter().flat_map(rewrites_of)));
    }
    if let Some(totals) = &report.totals {
        section(&mut lines, "Total");
        lines.push(format!("  {}", total(totals)));
    }
    if let Some(width) = width() {
        lines = lines.iter().flat_map(|it| fitted(it, width)).collect();
    }
    lines.join("\n") + "\n"
}

/// A line in as many as the width of the terminal requires; the others are indented further.
fn fitted(line: &str, width: usize) -> Vec<String> {
    if measure_text_width(line) <= width {
        return vec![line.to_owned()];
    }
    let indent = line.len() - line.trim_start().len();
    let parts = wrapped(line, width.saturating_sub(indent + 4)).into_iter().enumerate();
    parts.map(|(number, part)| " ".repeat(if number == 0 { indent } else { indent + 4 }) + &part).collect()
}

fn about(report: &Report) -> Vec<String> {
    let connector = match (&report.command, &report.image) {
        (Some(command), _) => ("Command", shell_words::join(command)),
        (_, image) => ("Image", image.clone().unwrap_or_default()),
    };
    let provider = report.oauth2.as_ref().and_then(|it| it.get("provider")?.as_str());
    let oauth = match (provider, &report.oauth2_missing) {
        (Some(provider), _) => format!("sign-in with {provider}"),
        (None, Some(missing)) => format!("no sign-in: {missing}"),
        (None, None) => "none declared".to_owned(),
    };
    let settings = report.settings.map(|it| ("Settings", it.from.display().to_string()));
    let rows = [
        ("Protocol", report.protocol.to_owned()),
        connector,
        ("Documentation", report.documentation_url.clone()),
        ("OAuth", oauth),
    ];
    let rows: Vec<_> =
        rows.into_iter().chain(settings).map(|(name, text)| vec![bold(name), printable(&text)]).collect();
    columns(&rows, &[Alignment::Left; 2])
}

fn section(lines: &mut Vec<String>, title: &str) {
    lines.extend([String::new(), bold(title)]);
}

fn bold(text: &str) -> String {
    Style::new().bold().apply_to(text).to_string()
}

/// The width of the terminal, if stdout is one.
fn width() -> Option<usize> {
    let term = Term::stdout();
    term.is_term().then(|| usize::from(term.size().1))
}

/// The width without a terminal, and the least that a description gets beside its field.
const PAGE: usize = 120;
const BESIDE: usize = 40;

/// Aligns fields, with their whole descriptions: in a last column, or below where that would be too narrow.
fn described(rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let width = width.unwrap_or(PAGE);
    let fields: Vec<Vec<String>> = rows.iter().map(|row| row.iter().take(3).cloned().collect()).collect();
    let fields = columns(&fields, &[Alignment::Left; 3]);
    let left = fields.iter().map(|it| measure_text_width(it)).max().unwrap_or_default() + 2;
    let mut lines = Vec::new();
    for (row, field) in rows.iter().zip(fields) {
        let description = row.get(3).map_or("", String::as_str);
        if width >= left + BESIDE {
            let mut description = wrapped(description, width - left).into_iter();
            let first = description.next().unwrap_or_default();
            lines.push(format!("{}{first}", pad_str(&field, left, Alignment::Left, None)).trim_end().to_owned());
            lines.extend(description.map(|it| format!("{}{it}", " ".repeat(left))));
        } else {
            lines.push(truncate_str(&field, width, "…").into_owned());
            lines.extend(wrapped(description, width.saturating_sub(6)).into_iter().map(|it| format!("      {it}")));
        }
    }
    lines
}

fn field_rows(field: &Field, depth: usize, rows: &mut Vec<Vec<String>>) {
    let name = format!("{}{}", "  ".repeat(depth), field.name);
    let row = [name, field.kind.clone(), notes(field), purpose(field)];
    rows.push(row.iter().map(|it| printable(it)).collect());
    field.fields.iter().for_each(|it| field_rows(it, depth + 1, rows));
    for Branch { title, chosen_by, fields } in &field.branches {
        let chosen: Vec<String> = chosen_by.iter().map(|(name, value)| format!("{name}: {}", compact(value))).collect();
        let name = format!("{}- {title}", "  ".repeat(depth + 1));
        rows.push(vec![printable(name.trim_end()), printable(&chosen.join(", "))]);
        fields.iter().for_each(|it| field_rows(it, depth + 2, rows));
    }
}

fn notes(field: &Field) -> String {
    let mut notes = Vec::new();
    if field.required {
        notes.push("required".to_owned());
    }
    if field.secret {
        notes.push("secret".to_owned());
    }
    if let Some(default) = &field.default {
        notes.push(format!("default {}", truncate_str(&compact(default), 30, "…")));
    }
    notes.join(", ")
}

/// The allowed values and the description.
fn purpose(field: &Field) -> String {
    let description = field.description.clone().unwrap_or_default();
    if field.values.is_empty() {
        return description;
    }
    let mut values = field.values.iter().take(VALUES).map(compact).collect::<Vec<_>>().join(" | ");
    if field.values.len() > VALUES {
        values += &format!(" | {} more", field.values.len() - VALUES);
    }
    format!("[{values}] {description}")
}

fn compact(value: &Value) -> String {
    value.as_str().filter(|it| !it.is_empty()).map_or_else(|| value.to_string(), str::to_owned)
}

/// A table of the streams, or their properties below each name where the table would be too wide.
fn stream_lines(streams: &[Stream], width: Option<usize>) -> Vec<String> {
    let rows = stream_rows(streams);
    let lines = columns(&rows, &[Alignment::Left; 4]);
    if lines.iter().all(|it| width.is_none_or(|width| measure_text_width(it) <= width)) {
        return lines;
    }
    let below = |row: &Vec<String>| {
        let properties = rows[0].iter().zip(row).skip(1).filter(|it| !it.1.is_empty());
        let lines = properties.map(|(name, property)| format!("    {name}: {property}"));
        std::iter::once(row[0].clone()).chain(lines).collect::<Vec<_>>()
    };
    rows.iter().skip(1).flat_map(below).collect()
}

fn stream_rows(streams: &[Stream]) -> Vec<Vec<String>> {
    let mut rows = vec![["  stream", "key", "sync", "cursor"].map(str::to_owned).to_vec()];
    for stream in streams {
        let key = match &stream.no_source_key {
            Some(why) => format!("row id ({why})"),
            None => stream.key.join(", "),
        };
        let modes: Vec<String> = stream.sync_modes.iter().map(|it| it.replace('_', " ").to_lowercase()).collect();
        let sync = match modes.split_first() {
            Some((mode, [])) => mode.clone(),
            Some((mode, others)) => format!("{mode} (or {})", others.join(", ")),
            None => String::new(),
        };
        let sync = if stream.disable { format!("disabled; {sync}") } else { sync };
        let name = format!("  {}", stream.recommended_name);
        let row = [name, key, sync, stream.cursor.clone().unwrap_or_default()];
        rows.push(row.iter().map(|it| printable(it)).collect());
    }
    rows
}

fn rewrites_of(stream: &Stream) -> impl Iterator<Item = (Option<&str>, &Rewrite)> {
    stream.rewritten.iter().map(|it| (Some(stream.recommended_name.as_str()), it))
}

/// Lists each kind of change once, with its locations.
fn rewrites<'a>(all: impl Iterator<Item = (Option<&'a str>, &'a Rewrite)>) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for (stream, rewrite) in all {
        let at = if rewrite.at.is_empty() { "/" } else { &rewrite.at };
        let place = printable(&stream.map_or(at.to_owned(), |stream| format!("{stream} {at}")));
        match reasons.iter_mut().find(|(reason, _)| *reason == rewrite.reason) {
            Some((_, places)) => places.push(place),
            None => reasons.push((&rewrite.reason, vec![place])),
        }
    }
    if reasons.is_empty() {
        return vec!["  none".to_owned()];
    }
    let mut lines = Vec::new();
    for (reason, places) in reasons {
        lines.push(format!("  {reason}"));
        let mut text = places[..places.len().min(PLACES)].join(", ");
        if places.len() > PLACES {
            text += &format!(" and {} more", places.len() - PLACES);
        }
        lines.push(format!("    {text}"));
    }
    lines
}

fn total(it: &Totals) -> String {
    let Totals { streams, incremental, full_refresh, with_source_key, with_row_id, rewritten_streams, rewrites } = it;
    format!(
        "{}: {incremental} incremental, {full_refresh} full refresh; {with_source_key} with a source key, {with_row_id} with a row id; {} in {}",
        plural(*streams, "stream"),
        plural(*rewrites, "change"),
        plural(*rewritten_streams, "schema"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_whole_beside_a_field_or_below_it() {
        let description =
            "From here on, e.g. 2024-01-31. Rows that changed before are not captured, also not by a backfill.";
        let rows = [
            vec!["  start_date".to_owned(), "string (date)".to_owned(), "required".to_owned(), description.to_owned()],
            vec!["    - OAuth".to_owned(), "auth_type: oauth".to_owned()],
        ];
        let at = |width| format!("{width}\n{}", described(&rows, Some(width)).join("\n"));
        for width in [40, 80, 120] {
            assert!(described(&rows, Some(width)).iter().all(|it| measure_text_width(it) <= width), "{width}");
        }
        insta::assert_snapshot!([120, 90, 50, 40].map(at).join("\n\n"));
        let line = "    customers /properties/created_at/airbyte_type, page_views /$schema and 3 more";
        assert!(fitted(line, 50).iter().all(|it| measure_text_width(it) <= 50));
        assert_eq!(fitted(line, 50).join("\n").split_whitespace().count(), line.split_whitespace().count());
    }
}
