//! One value at a place where a date is declared.

use super::epoch;
use super::text::Moment;
use crate::json::scan::string_text;

/// What is declared of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub form: Form,
    /// A number may be one that counts from 1970; nothing else is declared that it could be.
    pub numbers: bool,
    /// Likewise of a string that is a number.
    pub digits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    DateTime,
    /// A date-time stays one where its time is not midnight, as that would be lost.
    Date,
    /// A date or a date-time, each as it is.
    Either,
    /// The date alone, whatever the time.
    Cut,
}

impl Wanted {
    /// Writes a string or number in the wanted form, as JSON; says whether that differs from what it was.
    pub fn rewrite(self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        if raw.first() != Some(&b'"') {
            let number = std::str::from_utf8(raw).ok().filter(|_| self.numbers);
            return number.is_some_and(|it| self.rewrite_number(it, out));
        }
        let text = string_text(raw);
        let number = text.trim_ascii();
        if is_number(number) {
            return self.digits && self.rewrite_number(number, out);
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

/// A plain decimal number, without an exponent and without zeros in front, as codes have them.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    all_digits(whole) && all_digits(fraction) && !whole.starts_with('0')
}
