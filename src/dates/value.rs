//! Rewrites one value that is declared as a date.

use super::epoch;
use super::text::Moment;
use crate::json::scan::string_text;

/// What a schema demands of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub form: Form,
    /// A number counts from 1970 and becomes a string.
    pub numbers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    DateTime,
    /// A date-time becomes its date only at midnight: another time would be lost.
    Date,
    /// A date or a date-time: the schema allows both.
    Either,
    /// The date alone, whatever the time.
    Cut,
}

impl Wanted {
    /// Writes a JSON string or number in the wanted form to `out`; returns whether that changes it.
    pub fn rewrite(self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        if raw.first() != Some(&b'"') {
            let number = std::str::from_utf8(raw).ok().filter(|_| self.numbers);
            return number.is_some_and(|it| self.rewrite_number(it, out));
        }
        let text = string_text(raw);
        let number = text.trim_ascii();
        if is_number(number) {
            return self.rewrite_number(number, out);
        }
        let Some(moment) = Moment::read(text.as_bytes()) else { return false };
        self.write(&moment, out);
        out.get(1..out.len() - 1) != Some(text.as_bytes())
    }

    fn rewrite_number(self, number: &str, out: &mut Vec<u8>) -> bool {
        if let Some(moment) = Moment::read(number.as_bytes()) {
            self.write(&moment, out);
            return true;
        }
        let Some(date_time) = epoch::date_time(number) else { return false };
        let Some(moment) = Moment::read(date_time.as_bytes()) else { return false };
        self.write(&moment, out);
        true
    }

    fn write(self, moment: &Moment, out: &mut Vec<u8>) {
        let as_date = match self.form {
            Form::DateTime => false,
            Form::Date => !moment.has_time() || moment.is_midnight(),
            Form::Either => !moment.has_time(),
            Form::Cut => true,
        };
        out.clear();
        out.push(b'"');
        if as_date {
            moment.write_date(out)
        } else {
            moment.write(out)
        }
        out.push(b'"');
    }
}

/// Whether a string is a plain decimal number, without an exponent or leading zeros: codes have leading zeros.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    all_digits(whole) && all_digits(fraction) && !whole.starts_with('0')
}
