//! Limits lines that repeat each other: the runtime has one small buffer for logs and documents (F6), so a flood of logs
//! slows documents down.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Level;

/// How many similar lines may come at once, and how many a second after that.
struct Limit {
    burst: f64,
    each_second: f64,
}

const INFO: Limit = Limit { burst: 200.0, each_second: 2.0 };
const WARN: Limit = Limit { burst: 5000.0, each_second: 20.0 };

/// How many shapes of lines are told apart; further ones share a limit.
const SHAPES: usize = 4096;

/// How often suppressed lines are reported.
const REPORT: Duration = Duration::from_secs(10);

/// Lines that were not logged.
#[derive(Debug, PartialEq)]
pub struct Suppressed {
    pub count: u64,
    pub level: Level,
    /// The first of them, as the caller shortened it.
    pub sample: String,
}

pub struct Repeats {
    shapes: HashMap<u64, Shape>,
    reported: Instant,
}

struct Shape {
    tokens: f64,
    since: Instant,
    suppressed: Option<Suppressed>,
}

impl Repeats {
    pub fn new(now: Instant) -> Self {
        Self { shapes: HashMap::new(), reported: now }
    }

    /// Whether a line is to be logged. `sample` shortens it for the report.
    pub fn allows(&mut self, level: Level, message: &str, now: Instant, sample: impl FnOnce() -> String) -> bool {
        let limit = match level {
            Level::Error => return true,
            Level::Warn => WARN,
            _ => INFO,
        };
        let mut key = shape(level, message);
        if self.shapes.len() >= SHAPES && !self.shapes.contains_key(&key) {
            self.shapes.retain(|_, it| it.suppressed.is_some() || it.tokens_at(now, &limit) < limit.burst);
            if self.shapes.len() >= SHAPES {
                key = level as u64;
            }
        }
        let shape =
            self.shapes.entry(key).or_insert_with(|| Shape { tokens: limit.burst, since: now, suppressed: None });
        shape.tokens = shape.tokens_at(now, &limit);
        shape.since = now;
        if shape.tokens >= 1.0 {
            shape.tokens -= 1.0;
            return true;
        }
        shape.suppressed.get_or_insert_with(|| Suppressed { count: 0, level, sample: sample() }).count += 1;
        false
    }

    /// What was suppressed since the last report, if that was long ago.
    pub fn due(&mut self, now: Instant) -> Vec<Suppressed> {
        if now.saturating_duration_since(self.reported) < REPORT { Vec::new() } else { self.report(now) }
    }

    /// What was suppressed since the last report.
    pub fn report(&mut self, now: Instant) -> Vec<Suppressed> {
        self.reported = now;
        self.shapes.values_mut().filter_map(|it| it.suppressed.take()).collect()
    }
}

impl Shape {
    fn tokens_at(&self, now: Instant, limit: &Limit) -> f64 {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        (self.tokens + passed * limit.each_second).min(limit.burst)
    }
}

/// Equal for lines that differ in numbers only, and in words that contain digits. Each line of a chatty connector passes
/// through this, so it is one pass over the bytes (FNV-1a).
fn shape(level: Level, message: &str) -> u64 {
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = add(0xcbf2_9ce4_8422_2325, level as u8);
    // A word with a digit counts as this hash and a zero.
    let (mut before_word, mut has_digit) = (hash, false);
    for &byte in message.as_bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            has_digit |= byte.is_ascii_digit();
            hash = add(hash, byte);
            continue;
        }
        if std::mem::take(&mut has_digit) {
            hash = add(before_word, b'0');
        }
        hash = add(hash, byte);
        before_word = hash;
    }
    if has_digit { add(before_word, b'0') } else { hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(repeats: &mut Repeats, level: Level, message: &str, now: Instant) -> bool {
        repeats.allows(level, message, now, || message.to_owned())
    }

    #[test]
    fn similar_lines_are_counted_after_a_burst() {
        let start = Instant::now();
        let mut repeats = Repeats::new(start);
        let passed =
            (0..1000).filter(|it| allowed(&mut repeats, Level::Info, &format!("page {it} of x{it}"), start)).count();
        assert_eq!(passed, 200);
        assert!(allowed(&mut repeats, Level::Info, "another line", start));
        let warnings = (0..6000).filter(|it| allowed(&mut repeats, Level::Warn, &format!("slow {it}"), start)).count();
        assert_eq!(warnings, 5000);
        assert!((0..9000).all(|_| allowed(&mut repeats, Level::Error, "no", start)));
        assert!(repeats.due(start + Duration::from_secs(9)).is_empty());
        let mut due = repeats.due(start + REPORT);
        due.sort_by_key(|it| it.count);
        let suppressed = |count, level, sample: &str| Suppressed { count, level, sample: sample.to_owned() };
        assert_eq!(due, [suppressed(800, Level::Info, "page 200 of x200"), suppressed(1000, Level::Warn, "slow 5000")]);
        assert!(repeats.report(start).is_empty());
        assert!(allowed(&mut repeats, Level::Info, "page 1 of x1", start + Duration::from_secs(1)));
    }

    #[test]
    fn eight_hours_of_similar_lines_are_two_a_second() {
        const HOURS: u64 = 8 * 3600;
        let start = Instant::now();
        let mut repeats = Repeats::new(start);
        let (mut logged, mut suppressed, mut reports) = (0, 0, 0);
        for tenth in 0..HOURS * 10 {
            let now = start + Duration::from_millis(tenth * 100);
            logged += u64::from(allowed(&mut repeats, Level::Info, &format!("page {tenth}"), now));
            let due = repeats.due(now);
            reports += due.len() as u64;
            suppressed += due.iter().map(|it| it.count).sum::<u64>();
        }
        suppressed += repeats.report(start).iter().map(|it| it.count).sum::<u64>();
        assert_eq!(logged + suppressed, HOURS * 10, "each line is logged or counted");
        assert!((HOURS * 2..=HOURS * 2 + 200).contains(&logged), "{logged}");
        assert!(reports <= HOURS / 10, "{reports}");
    }

    #[test]
    fn words_with_digits_are_alike() {
        let of = |message: &str| shape(Level::Info, message);
        for (one, other) in [
            ("page 1 of x1", "page 22 of 3y"),
            ("1", "a22_b"),
            ("at 2024-01-02T03:04:05Z", "at 1999-12-31T23:59:59Z"),
            ("größe 1 ist", "größe 2 ist"),
        ] {
            assert_eq!(of(one), of(other), "{one}");
        }
        for (one, other) in [
            ("page 1", "page  1"),
            ("page one", "page two"),
            ("a1", "a"),
            ("1 2", "12"),
            ("x 1", "1 x"),
            ("a b1", "b a1"),
        ] {
            assert_ne!(of(one), of(other), "{one}");
        }
        assert_ne!(of("page 1"), shape(Level::Warn, "page 1"));
    }

    #[test]
    fn shapes_beyond_the_limit_share_one() {
        let start = Instant::now();
        let mut repeats = Repeats::new(start);
        let word = |it: usize| -> String { it.to_string().bytes().map(|it| char::from(it - b'0' + b'a')).collect() };
        let passed = (0..10_000).filter(|it| allowed(&mut repeats, Level::Info, &word(*it), start)).count();
        assert_eq!(passed, SHAPES + 200);
        // A shape that was not used for long makes room.
        assert!(allowed(&mut repeats, Level::Info, "new", start + Duration::from_secs(200)));
        assert!(repeats.shapes.len() < 10);
    }
}
