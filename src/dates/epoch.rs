//! Converts numbers that count from 1970 to date-times in UTC.
//!
//! The number of digits before the decimal point determines the unit: nine or ten for seconds (1973 to 2286, or 1653 to
//! 1966 if negative), twelve or thirteen for milliseconds, fifteen or sixteen for microseconds, eighteen or nineteen for
//! nanoseconds. No number fits two units. Numbers of other lengths would be implausible dates in every unit, and smaller
//! ones are rather zeros, row numbers or years: they are not converted.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::Offset;

/// The last day of the year 9999, in seconds. It stands for "never"; as milliseconds it would be a day in 1978.
const NEVER: std::ops::RangeInclusive<i64> = 253_402_214_400..=253_402_300_799;

/// Larger exponents are not converted.
const MOST_PLACES: i32 = 64;

/// The date-time of a JSON number, with every digit of its fraction; none if the number is not a plausible date.
pub fn date_time(number: &str) -> Option<String> {
    let (sign, rest) = number.strip_prefix('-').map_or((1, number), |it| (-1, it));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let exponent = exponent.parse::<i32>().ok().filter(|it| it.abs() <= MOST_PLACES)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = usize::try_from(i32::try_from(whole.len()).ok()?.checked_add(exponent)?).ok()?;
    let digits: Cow<str> = match format!("{whole}{fraction}") {
        it if it.len() < point => Cow::Owned(format!("{it:0<point$}")),
        it => Cow::Owned(it),
    };
    let (whole, fraction) = digits.split_at_checked(point)?;
    let whole = whole.trim_start_matches('0');
    let places = match whole.len() {
        9 | 10 => 0,
        12 | 13 => 3,
        15 | 16 => 6,
        18 | 19 => 9,
        _ => return None,
    };
    if let Some(head) = whole.get(..12).filter(|_| whole.len().is_multiple_of(3))
        && NEVER.contains(&head.parse().ok()?)
    {
        return None;
    }
    let (seconds, subseconds) = whole.split_at_checked(whole.len() - places)?;
    let mut seconds = sign * seconds.parse::<i64>().ok()?;
    let mut fraction = format!("{subseconds}{fraction}");
    if sign < 0 && fraction.bytes().any(|it| it != b'0') {
        seconds -= 1;
        fraction = rest_to_one(&fraction);
    }
    let date_time = Offset::UTC.to_datetime(Timestamp::from_second(seconds).ok()?);
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{date_time}{point}{fraction}Z"))
}

/// One minus a fraction, in the same number of digits.
fn rest_to_one(fraction: &str) -> String {
    let last = fraction.rfind(|it| it != '0').unwrap_or_default();
    let rest = |(at, digit): (usize, u8)| match at.cmp(&last) {
        std::cmp::Ordering::Less => char::from(b'9' - (digit - b'0')),
        std::cmp::Ordering::Equal => char::from(b'9' - (digit - b'0') + 1),
        std::cmp::Ordering::Greater => '0',
    };
    fraction.bytes().enumerate().map(rest).collect()
}
