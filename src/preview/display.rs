//! The live display: a line per stream while the capture runs.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use console::{Alignment, Style, Term, measure_text_width, truncate_str};
use indicatif::ProgressBar;

use super::tally::{Stream, Tally};
use crate::logging::{self, CONNECTOR_STATUS, EVENT_TYPE, Line, Sink};
use crate::terminal::figures::{columns, count, plural, seconds, size};
use crate::terminal::{Screen, printable};

/// The interval between updates.
const TICK: Duration = Duration::from_millis(200);

/// The status line is updated once a second.
const TICKS_PER_STATUS: u32 = 5;

/// The time constant of the moving average of a rate, in seconds.
const SMOOTH: f64 = 2.0;

/// The widths of a stream's name and of its progress bar.
const NAME: usize = 40;
const BAR: usize = 20;

pub struct Display {
    end: Sender<()>,
    drawing: JoinHandle<()>,
}

impl Display {
    /// Draws until [`Display::end`]; returns `None` without a live display.
    pub fn start(screen: &Screen, tally: &Arc<Tally>) -> Option<Self> {
        if !screen.is_live() {
            return None;
        }
        logging::redirect(Arc::new(Listener { screen: screen.clone(), tally: tally.clone() }));
        let height = usize::from(Term::stderr().size().0).saturating_sub(4).max(1);
        let lines: Vec<ProgressBar> = (0..tally.streams.len().min(height)).filter_map(|_| screen.line()).collect();
        let (end, ended) = mpsc::channel();
        let (tally, screen) = (tally.clone(), screen.clone());
        let drawing = thread::spawn(move || {
            let mut rates = Rates::new(&tally);
            let mut ticks = 0;
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                rates.measure(&tally);
                let now = tally.start.elapsed().as_millis() as u64;
                let width = usize::from(Term::stderr().size().1);
                let texts = render(&tally, &rates.each, lines.len(), width, now);
                lines.iter().zip(texts).for_each(|(line, text)| line.set_message(text));
                ticks += 1;
                // Flow's status, which the log carries, may be 10 s old.
                if ticks % TICKS_PER_STATUS == 0
                    && let Some(text) = status(&rates.each)
                {
                    screen.status(&text);
                }
            }
            lines.iter().for_each(ProgressBar::finish_and_clear);
        });
        Some(Self { end, drawing })
    }

    pub fn end(self, screen: &Screen) {
        drop(self.end);
        let _ = self.drawing.join();
        logging::redirect(Arc::new(screen.clone()));
    }
}

/// Takes estimates and the connector status from the logs, for the display.
struct Listener {
    screen: Screen,
    tally: Arc<Tally>,
}

impl Sink for Listener {
    fn log(&self, line: &Line) {
        self.screen.log(line);
    }

    fn takes(&self, event: &Line) -> bool {
        let number = |name: &str| event.fields.get(name).and_then(|it| it.as_u64());
        match event.fields.get(EVENT_TYPE).and_then(|it| it.as_str()) {
            Some("estimate") => {
                let stream = event.fields.get("stream").and_then(|it| it.as_str()).unwrap_or_default();
                self.tally.estimate(stream, number("rows"), number("bytes"));
                false
            }
            Some(CONNECTOR_STATUS) => {
                self.screen.status(event.message);
                true
            }
            _ => false,
        }
    }
}

/// Records per second of each stream.
struct Rates {
    at: Instant,
    last: Vec<u64>,
    each: Vec<f64>,
}

impl Rates {
    fn new(tally: &Tally) -> Self {
        let count = tally.streams.len();
        Self { at: Instant::now(), last: vec![0; count], each: vec![0.0; count] }
    }

    fn measure(&mut self, tally: &Tally) {
        let seconds = self.at.elapsed().as_secs_f64();
        self.at = Instant::now();
        for ((stream, last), rate) in tally.streams.iter().zip(&mut self.last).zip(&mut self.each) {
            let records = stream.records.get();
            let now = (records - std::mem::replace(last, records)) as f64 / seconds;
            // The first measurement is not averaged.
            *rate = if *rate == 0.0 { now } else { *rate + (now - *rate) * (1.0 - (-seconds / SMOOTH).exp()) };
        }
    }
}

/// The lines: all streams or, if they don't fit, those with the highest rate and then the most records, in their usual
/// order.
///
/// If they are wider than `width`, columns are left out, the bar first; the name and the count stay.
fn render(tally: &Tally, rates: &[f64], height: usize, width: usize, now: u64) -> Vec<String> {
    let mut shown: Vec<usize> = (0..tally.streams.len()).collect();
    let hidden = shown.len() - shown.len().min(height);
    if hidden > 0 {
        let busy = |it: &usize| (rates[*it] as u64, tally.streams[*it].records.get());
        shown.sort_by_key(|it| std::cmp::Reverse(busy(it)));
        shown.truncate(height.saturating_sub(1));
        shown.sort_unstable();
    }
    let any_progress = tally.streams.iter().any(|it| it.progress().is_some());
    let mut rows: Vec<Vec<String>> =
        shown.iter().map(|&it| row(&tally.streams[it], rates[it], now, any_progress)).collect();
    let right = Alignment::Right;
    let alignments = [Alignment::Left, Alignment::Left, right, right, right, right, Alignment::Left];
    let mut lines = columns(&rows, &alignments);
    let too_wide = |lines: &[String]| {
        lines.iter().map(|it| measure_text_width(it)).max().unwrap_or_default().saturating_sub(width)
    };
    for column in DROPPED_FIRST {
        if too_wide(&lines) == 0 {
            break;
        }
        rows.iter_mut().for_each(|row| row[column].clear());
        lines = columns(&rows, &alignments);
    }
    let excess = too_wide(&lines);
    if excess > 0 {
        let longest = rows.iter().map(|row| measure_text_width(&row[0])).max().unwrap_or_default();
        let name = longest.saturating_sub(excess).max(1);
        rows.iter_mut().for_each(|row| row[0] = truncate_str(&row[0], name, "…").into_owned());
        lines = columns(&rows, &alignments);
    }
    if hidden > 0 {
        let dim = Style::new().for_stderr().dim();
        lines.push(dim.apply_to(format!("… and {} more streams", hidden + 1)).to_string());
    }
    lines
}

/// What the capture is doing now; `None` if no records are arriving, as the connector's own status then says more.
fn status(rates: &[f64]) -> Option<String> {
    let active: Vec<f64> = rates.iter().copied().filter(|it| *it >= 0.5).collect();
    let total = active.iter().sum::<f64>().round() as u64;
    (!active.is_empty()).then(|| format!("reading {}: {} records/s", plural(active.len(), "stream"), count(total)))
}

/// The columns of [`row`] that narrow terminals lack, in this order: bar, checkpoint, size, rate, percentage.
const DROPPED_FIRST: [usize; 5] = [1, 6, 5, 4, 2];

fn row(stream: &Stream, rate: f64, now: u64, any_progress: bool) -> Vec<String> {
    let dim = Style::new().for_stderr().dim();
    let progress = stream.progress();
    let bar = if any_progress { bar(progress.unwrap_or_default()) } else { String::new() };
    let checkpoint = match stream.checkpoints.get() {
        0 => "no checkpoint yet".to_owned(),
        _ => format!("checkpoint {} ago", seconds(now.saturating_sub(stream.checkpoint_at.get()) / 1000)),
    };
    vec![
        truncate_str(&printable(&stream.name), NAME, "…").into_owned(),
        bar,
        progress.map_or_else(String::new, |it| format!("{:.0}%", (it * 100.0).floor())),
        format!("{} records", count(stream.records.get())),
        format!("{}/s", count(rate.round() as u64)),
        size(stream.record_bytes.get()),
        dim.apply_to(checkpoint).to_string(),
    ]
}

fn bar(progress: f64) -> String {
    let full = (progress * BAR as f64) as usize;
    let style = Style::new().for_stderr();
    let (done, left) = ("━".repeat(full), "━".repeat(BAR - full));
    // Without colours, the two parts need different characters.
    if console::colors_enabled_stderr() {
        format!("{}{}", style.clone().cyan().apply_to(done), style.black().bright().apply_to(left))
    } else {
        format!("{done}{}", "─".repeat(BAR - full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(names: impl Iterator<Item = String>) -> Tally {
        console::set_colors_enabled_stderr(false);
        Tally::new(names.map(|it| (it.clone(), it)))
    }

    #[test]
    fn a_line_describes_a_stream() {
        let tally = tally(
            ["customers", "a_stream_with_a_name_that_is_longer_than_the_column", "orders"]
                .map(str::to_owned)
                .into_iter(),
        );
        tally.estimate("customers", Some(2000), Some(400_000));
        tally.estimate("orders", None, Some(1000));
        for (index, records, bytes, checkpoints) in [(0, 1040, 212_000, 2), (2, 3, 999, 0)] {
            let stream = &tally.streams[index];
            stream.records.set(records);
            stream.record_bytes.set(bytes);
            stream.checkpoints.set(checkpoints);
        }
        tally.streams[0].checkpoint_at.set(9_000);
        insta::assert_snapshot!(render(&tally, &[200.4, 0.0, 1.0], 10, 200, 12_345).join("\n"));
    }

    #[test]
    fn narrow_terminals_lose_the_bar_first_and_keep_the_count() {
        let tally = tally(["customers", "page_views_of_all_visitors"].map(str::to_owned).into_iter());
        tally.estimate("customers", Some(2000), None);
        tally.streams[0].records.set(1040);
        let at = |width| {
            let lines = render(&tally, &[200.0, 0.0], 10, width, 0);
            assert!(lines.iter().all(|it| measure_text_width(it) <= width), "{width}");
            format!("{width}\n{}", lines.join("\n"))
        };
        insta::assert_snapshot!([120, 90, 70, 50, 30].map(at).join("\n\n"));
    }

    #[test]
    fn the_status_tells_the_present_rate() {
        assert_eq!(status(&[0.0, 0.2]), None);
        assert_eq!(status(&[1200.4, 0.2, 34.0]).unwrap(), "reading 2 streams: 1,234 records/s");
    }

    #[test]
    fn of_many_streams_the_busiest_are_shown() {
        let tally = tally((0..100).map(|it| format!("stream_{it}")));
        tally.streams[70].records.set(9);
        let mut rates = [0.0; 100];
        rates[50] = 5.0;
        insta::assert_snapshot!(render(&tally, &rates, 4, 200, 0).join("\n"));
    }
}
