//! The live display: a line per stream while the capture runs.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use console::{Alignment, Style, Term, truncate_str};
use indicatif::ProgressBar;

use super::tally::{Stream, Tally};
use crate::logging::{self, CONNECTOR_STATUS, EVENT_TYPE, Line, Sink};
use crate::terminal::Screen;
use crate::terminal::figures::{columns, count, seconds, size};

/// The interval between updates.
const TICK: Duration = Duration::from_millis(200);

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
        let tally = tally.clone();
        let drawing = thread::spawn(move || {
            let mut rates = Rates::new(&tally);
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                rates.measure(&tally);
                let now = tally.start.elapsed().as_millis() as u64;
                let texts = render(&tally, &rates.each, lines.len(), now);
                lines.iter().zip(texts).for_each(|(line, text)| line.set_message(text));
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
fn render(tally: &Tally, rates: &[f64], height: usize, now: u64) -> Vec<String> {
    let mut shown: Vec<usize> = (0..tally.streams.len()).collect();
    let hidden = shown.len() - shown.len().min(height);
    if hidden > 0 {
        let busy = |it: &usize| (rates[*it] as u64, tally.streams[*it].records.get());
        shown.sort_by_key(|it| std::cmp::Reverse(busy(it)));
        shown.truncate(height.saturating_sub(1));
        shown.sort_unstable();
    }
    let any_progress = tally.streams.iter().any(|it| it.progress().is_some());
    let rows: Vec<Vec<String>> =
        shown.iter().map(|&it| row(&tally.streams[it], rates[it], now, any_progress)).collect();
    let right = Alignment::Right;
    let alignments = [Alignment::Left, Alignment::Left, right, right, right, right, Alignment::Left];
    let mut lines = columns(&rows, &alignments);
    if hidden > 0 {
        let dim = Style::new().for_stderr().dim();
        lines.push(dim.apply_to(format!("… and {} more streams", hidden + 1)).to_string());
    }
    lines
}

fn row(stream: &Stream, rate: f64, now: u64, any_progress: bool) -> Vec<String> {
    let dim = Style::new().for_stderr().dim();
    let progress = stream.progress();
    let bar = if any_progress { bar(progress.unwrap_or_default()) } else { String::new() };
    let checkpoint = match stream.checkpoints.get() {
        0 => "no checkpoint yet".to_owned(),
        _ => format!("checkpoint {} ago", seconds(now.saturating_sub(stream.checkpoint_at.get()) / 1000)),
    };
    vec![
        truncate_str(&stream.name, NAME, "…").into_owned(),
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
        insta::assert_snapshot!(render(&tally, &[200.4, 0.0, 1.0], 10, 12_345).join("\n"));
    }

    #[test]
    fn of_many_streams_the_busiest_are_shown() {
        let tally = tally((0..100).map(|it| format!("stream_{it}")));
        tally.streams[70].records.set(9);
        let mut rates = [0.0; 100];
        rates[50] = 5.0;
        insta::assert_snapshot!(render(&tally, &rates, 4, 0).join("\n"));
    }
}
