//! Dates as text: recognizes RFC 3339, and reads other forms that are unambiguous.

use crate::json::lexical::leading_digits;

/// Whether the quoted string at the start of `text` is an RFC 3339 date-time exactly as [`Moment::write`] writes it. False
/// for leap seconds, which only [`Moment::read`] checks.
#[inline]
pub fn begins_with_date_time(text: &[u8]) -> bool {
    let Some(text) = text.get(1..) else { return false };
    let Some(head) = text.first_chunk::<19>() else { return false };
    if !is_date(head) || head[10] != b'T' || head[13] != b':' || head[16] != b':' {
        return false;
    }
    if !(two(head, 11) < 24 && two(head, 14) < 60 && two(head, 17) < 60) {
        return false;
    }
    let mut rest = &text[19..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = leading_digits(fraction);
        if digits == 0 {
            return false;
        }
        rest = &fraction[digits..];
    }
    match rest.first_chunk::<2>() {
        Some(b"Z\"") => true,
        Some([b'+' | b'-', _]) => match rest.first_chunk::<7>() {
            Some(zone) => zone[3] == b':' && zone[6] == b'"' && two(zone, 1) < 24 && two(zone, 4) < 60,
            None => false,
        },
        _ => false,
    }
}

/// Whether the quoted string at the start of `text` is an RFC 3339 full-date.
#[inline]
pub fn begins_with_date(text: &[u8]) -> bool {
    text.get(1..).and_then(<[u8]>::first_chunk::<11>).is_some_and(|it| it[10] == b'"' && is_date(it))
}

#[inline]
fn is_date<const N: usize>(text: &[u8; N]) -> bool {
    let (century, year) = (two(text, 0), two(text, 2));
    century < 100
        && year < 100
        && text[4] == b'-'
        && text[7] == b'-'
        && is_day(u32::from(century) * 100 + u32::from(year), two(text, 5), two(text, 8))
}

/// Two digits as a number; more than 99 if they are not digits.
#[inline]
fn two(text: &[u8], at: usize) -> u8 {
    let digit = |byte: u8| byte.wrapping_sub(b'0');
    let (tens, units) = (digit(text[at]), digit(text[at + 1]));
    if tens > 9 || units > 9 { u8::MAX } else { tens * 10 + units }
}

#[inline]
fn is_day(year: u32, month: u8, day: u8) -> bool {
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// A date and an optional time of day, in the digits that they were written with.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    year: &'a [u8],
    month: &'a [u8],
    day: &'a [u8],
    clock: Option<Clock<'a>>,
}

#[derive(Clone, Copy)]
struct Clock<'a> {
    hour: &'a [u8],
    minute: &'a [u8],
    second: &'a [u8],
    fraction: &'a [u8],
    zone: Zone<'a>,
}

#[derive(Clone, Copy)]
enum Zone<'a> {
    /// Explicit, or no offset at all: a timestamp without one is taken as UTC.
    Utc,
    Offset {
        sign: u8,
        hours: &'a [u8],
        minutes: &'a [u8],
    },
}

impl<'a> Moment<'a> {
    /// Reads a complete date with an optional time: with or without dashes and colons, with `T` or a space before the time,
    /// with or without seconds, and with an offset in any form. No offset means UTC.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        let mut it = Cursor(text.trim_ascii());
        let year = it.digits(4)?;
        let dashes = it.eat(b'-');
        let month = it.digits(2)?;
        if dashes && !it.eat(b'-') {
            return None;
        }
        let day = it.digits(2)?;
        if !is_day(u32::from(number(&year[..2])) * 100 + u32::from(number(&year[2..])), number(month), number(day)) {
            return None;
        }
        let date = Self { year, month, day, clock: None };
        if it.0.is_empty() {
            return (dashes || is_plausible(year)).then_some(date);
        }
        (it.eat(b'T') || it.eat(b't') || it.eat(b' ')).then_some(())?;
        Some(Self { clock: Some(it.clock()?), ..date })
    }

    pub fn has_time(&self) -> bool {
        self.clock.is_some()
    }

    pub fn is_midnight(&self) -> bool {
        let zeros = |text: &[u8]| text.iter().all(|&it| it == b'0');
        self.clock.is_some_and(|it| [it.hour, it.minute, it.second, it.fraction].into_iter().all(zeros))
    }

    pub fn write_date(&self, out: &mut Vec<u8>) {
        write(out, &[self.year, b"-", self.month, b"-", self.day]);
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_date(out);
        let Some(clock) = &self.clock else {
            return out.extend_from_slice(b"T00:00:00Z");
        };
        write(out, &[b"T", clock.hour, b":", clock.minute, b":", clock.second]);
        if !clock.fraction.is_empty() {
            write(out, &[b".", clock.fraction]);
        }
        match clock.zone {
            Zone::Utc => out.push(b'Z'),
            Zone::Offset { sign, hours, minutes } => write(out, &[&[sign], hours, b":", minutes]),
        }
    }
}

fn write(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|it| out.extend_from_slice(it));
}

/// Whether eight digits are a date rather than some number: the year is plausible, or stands for "never".
fn is_plausible(year: &[u8]) -> bool {
    matches!(number(&year[..2]), 18..=21) || year == b"9999"
}

/// The value of one or two digits.
fn number(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |it, digit| it * 10 + (digit - b'0'))
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn eat(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn digits(&mut self, count: usize) -> Option<&'a [u8]> {
        self.take(count).filter(|it| it.iter().all(u8::is_ascii_digit))
    }

    fn clock(&mut self) -> Option<Clock<'a>> {
        let hour = self.digits(2)?;
        let colons = self.eat(b':');
        let minute = self.digits(2)?;
        let mut second: &[u8] = b"00";
        let mut fraction: &[u8] = b"";
        if !colons || self.eat(b':') {
            second = self.digits(2)?;
            if self.eat(b'.') || self.eat(b',') {
                fraction = self.take(leading_digits(self.0)).filter(|it| !it.is_empty())?;
            }
        }
        let clock = Clock { hour, minute, second, fraction, zone: self.zone()? };
        clock.is_valid().then_some(clock)
    }

    /// Reads the offset, which must be the rest of the text.
    fn zone(&mut self) -> Option<Zone<'a>> {
        self.eat(b' ');
        if self.0.is_empty() || ["Z", "UTC", "GMT"].iter().any(|it| self.0.eq_ignore_ascii_case(it.as_bytes())) {
            return Some(Zone::Utc);
        }
        let sign = *self.take(1)?.first()?;
        let hours = self.digits(2)?;
        let minutes = if self.0.is_empty() {
            b"00"
        } else {
            self.eat(b':');
            self.digits(2)?
        };
        let is_offset = matches!(sign, b'+' | b'-') && number(hours) < 24 && number(minutes) < 60 && self.0.is_empty();
        is_offset.then_some(Zone::Offset { sign, hours, minutes })
    }
}

impl Clock<'_> {
    fn is_valid(&self) -> bool {
        let (hour, minute) = (number(self.hour), number(self.minute));
        hour < 24
            && minute < 60
            && match number(self.second) {
                0..60 => true,
                // A leap second is the last second of a day in UTC.
                60 => self.minute_in_utc() == 24 * 60 - 1,
                _ => false,
            }
    }

    fn minute_in_utc(&self) -> i32 {
        let minutes = |hours, minutes| i32::from(number(hours)) * 60 + i32::from(number(minutes));
        let offset = match self.zone {
            Zone::Utc => 0,
            Zone::Offset { sign: b'-', hours, minutes: rest } => -minutes(hours, rest),
            Zone::Offset { hours, minutes: rest, .. } => minutes(hours, rest),
        };
        (minutes(self.hour, self.minute) - offset).rem_euclid(24 * 60)
    }
}
