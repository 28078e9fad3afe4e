//! Formats numbers, sizes and tables for people.

use console::{Alignment, measure_text_width, pad_str};

/// 1234567 as `1,234,567`.
pub fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// `1 stream`, `2 streams`.
pub fn plural(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

/// 1234567 as `1.23 MB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // Values that would be rounded to 1000 use the next unit.
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1000.0, next);
    }
    match value {
        _ if unit == "B" => format!("{bytes} B"),
        ..9.995 => format!("{value:.2} {unit}"),
        ..99.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// A duration: `12 s`, `3 min 4 s`, `2 h 5 min`.
pub fn seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Aligns rows in columns, two spaces apart, without trailing spaces.
pub fn columns(rows: &[Vec<String>], alignments: &[Alignment]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|it| measure_text_width(it)).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..alignments.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).zip(alignments).filter(|((_, width), _)| **width > 0);
        let cells = cells.map(|((text, width), alignment)| pad_str(text, *width, *alignment, None));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The words of a text in lines of at most this width; a longer word has a line of its own.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if measure_text_width(line) + 1 + measure_text_width(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_figures() {
        let texts = [0, 999, 1000, 9_994, 9_995, 99_949, 123_456, 999_499, 999_500, 1_234_567, 5_000_000_000].map(size);
        assert_eq!(
            texts,
            [
                "0 B", "999 B", "1.00 kB", "9.99 kB", "10.0 kB", "99.9 kB", "123 kB", "999 kB", "1.00 MB", "1.23 MB",
                "5.00 GB"
            ]
        );
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["größe", "1", ""], ["b", "100", ""]].map(|it| it.map(str::to_owned).to_vec());
        let lines = columns(&rows, &[Alignment::Left, Alignment::Right, Alignment::Left]);
        assert_eq!(lines, ["größe    1", "b      100"]);
    }
}
