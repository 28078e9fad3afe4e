//! How each value is rewritten.

use super::*;

/// The declared form, a value, and its rewritten text; empty if the value stays.
const VALUES: &[(&str, &str, &str)] = &[
    // RFC 3339 already.
    ("date-time", r#""2023-01-30T02:34:15Z""#, ""),
    ("date-time", r#""2023-01-30T02:34:15.000000000000000000Z""#, ""),
    ("date-time", r#""2023-01-30T02:34:15.5+05:30""#, ""),
    ("date-time", r#""2023-01-30T02:34:15-00:00""#, ""),
    ("date-time", r#""0000-02-29T23:59:59-23:59""#, ""),
    ("date-time", r#""9999-12-31T23:59:59.999999999Z""#, ""),
    ("date-time", r#""2023-01-30T02:34:15\u002B05:30""#, ""),
    // Leap seconds, in UTC.
    ("date-time", r#""2016-12-31T23:59:60Z""#, ""),
    ("date-time", r#""1990-12-31T15:59:60-08:00""#, ""),
    ("date-time", r#""2016-12-31 23:59:60""#, r#""2016-12-31T23:59:60Z""#),
    ("date-time", r#""2016-12-31 10:20:60""#, ""),
    // The offset.
    ("date-time", r#""2008-10-29T02:32:38.212030""#, r#""2008-10-29T02:32:38.212030Z""#),
    ("date-time", r#""2020-03-25T21:03:18.000+0000""#, r#""2020-03-25T21:03:18.000+00:00""#),
    ("date-time", r#""2020-03-25T21:03:18.000\u002B0000""#, r#""2020-03-25T21:03:18.000+00:00""#),
    ("date-time", r#""2020-03-25T21:03:18+0530""#, r#""2020-03-25T21:03:18+05:30""#),
    ("date-time", r#""2020-03-25T21:03:18-05""#, r#""2020-03-25T21:03:18-05:00""#),
    ("date-time", r#""2024-01-01 00:07:00+00""#, r#""2024-01-01T00:07:00+00:00""#),
    ("date-time", r#""2024-01-01 00:07:00 +0530""#, r#""2024-01-01T00:07:00+05:30""#),
    ("date-time", r#""2024-01-01 00:07:00 UTC""#, r#""2024-01-01T00:07:00Z""#),
    ("date-time", r#""2024-01-01 00:07:00 GMT""#, r#""2024-01-01T00:07:00Z""#),
    ("date-time", r#""2024-01-01T00:07:00z""#, r#""2024-01-01T00:07:00Z""#),
    ("date-time", r#""2024-01-01T00:07:00+24:00""#, ""),
    ("date-time", r#""2024-01-01T00:07:00+05:60""#, ""),
    ("date-time", r#""2024-01-01T00:07:00+5""#, ""),
    ("date-time", r#""2024-01-01T00:07:00+05:30:15""#, ""),
    ("date-time", r#""2024-01-01T00:07:00 EST""#, ""),
    ("date-time", r#""2024-01-01T00:07:00Z+01:00""#, ""),
    ("date-time", r#""2024-01-01T00:07:00+01:00[Europe/Paris]""#, ""),
    // The separator of date and time, and white space.
    ("date-time", r#""2023-01-30 02:34:15""#, r#""2023-01-30T02:34:15Z""#),
    ("date-time", r#""2023-01-30t02:34:15Z""#, r#""2023-01-30T02:34:15Z""#),
    ("date-time", r#"" 2023-01-30 02:34:15\n""#, r#""2023-01-30T02:34:15Z""#),
    ("date-time", r#""2023-01-30  02:34:15""#, ""),
    ("date-time", r#""2023-01-30_02:34:15""#, ""),
    // Seconds and their fraction.
    ("date-time", r#""2023-01-30T10:20""#, r#""2023-01-30T10:20:00Z""#),
    ("date-time", r#""2023-01-30T10:20+02""#, r#""2023-01-30T10:20:00+02:00""#),
    ("date-time", r#""2023-01-30 10:20:30,123""#, r#""2023-01-30T10:20:30.123Z""#),
    ("date-time", r#""2023-01-30 10:20:30.1234567890123456789""#, r#""2023-01-30T10:20:30.1234567890123456789Z""#),
    ("date-time", r#""2023-01-30T10:20:30.Z""#, ""),
    ("date-time", r#""2023-01-30T10""#, ""),
    ("date-time", r#""2023-01-30T10:20.5""#, ""),
    ("date-time", r#""2023-01-30T1:20:30""#, ""),
    ("date-time", r#""2023-01-30T24:00:00Z""#, ""),
    ("date-time", r#""2023-01-30T10:60:00Z""#, ""),
    ("date-time", r#""2023-01-30T10:20:30 PM""#, ""),
    // A date alone, and without dashes.
    ("date-time", r#""2023-01-30""#, r#""2023-01-30T00:00:00Z""#),
    ("date-time", r#""20230130""#, r#""2023-01-30T00:00:00Z""#),
    ("date-time", "20230130", r#""2023-01-30T00:00:00Z""#),
    ("date-time", r#""99991231""#, r#""9999-12-31T00:00:00Z""#),
    ("date-time", r#""20230130T023415Z""#, r#""2023-01-30T02:34:15Z""#),
    ("date-time", r#""20230230""#, ""),
    ("date-time", "12101112", ""),
    ("date-time", "-20230130", ""),
    ("date-time", r#""2023-0130""#, ""),
    ("date-time", r#""202301-30""#, ""),
    ("date-time", r#""2023-1-30""#, ""),
    // Not in any calendar.
    ("date-time", r#""2023-02-30""#, ""),
    ("date-time", r#""2023-02-29T00:00:00""#, ""),
    ("date-time", r#""2024-02-29T00:00:00""#, r#""2024-02-29T00:00:00Z""#),
    ("date-time", r#""1900-02-29 00:00:00""#, ""),
    ("date-time", r#""2000-02-29 00:00:00""#, r#""2000-02-29T00:00:00Z""#),
    ("date-time", r#""2023-04-31 00:00:00""#, ""),
    ("date-time", r#""0000-00-00""#, ""),
    ("date-time", r#""0000-00-00 00:00:00""#, ""),
    ("date-time", r#""2023-13-01T00:00:00""#, ""),
    ("date-time", r#""12023-01-30T00:00:00""#, ""),
    // Not a date.
    ("date-time", r#""10:20:30""#, ""),
    ("date-time", r#""T10:20:30Z""#, ""),
    ("date-time", r#""10:20""#, ""),
    ("date-time", r#""""#, ""),
    ("date-time", r#"" ""#, ""),
    ("date-time", r#""now""#, ""),
    ("date-time", r#""P1D""#, ""),
    ("date-time", r#""30/01/2023""#, ""),
    ("date-time", r#""2023""#, ""),
    ("date-time", r#""2023-01""#, ""),
    ("date-time", r#""2023-W05-1""#, ""),
    ("date-time", r#""Mon, 30 Jan 2023 02:34:15 GMT""#, ""),
    ("date-time", r#""２０２３-01-30""#, ""),
    ("date-time", "null", ""),
    ("date-time", "true", ""),
    ("date-time", r#"{"at": "2023-01-30"}"#, ""),
    ("date-time", r#"["2023-01-30"]"#, ""),
    // Epochs: the number of digits determines the unit.
    ("date-time", "1675045055", r#""2023-01-30T02:17:35Z""#),
    ("date-time", r#""1675045055""#, r#""2023-01-30T02:17:35Z""#),
    ("date-time", "1675045055123", r#""2023-01-30T02:17:35.123Z""#),
    ("date-time", r#""1675045055123""#, r#""2023-01-30T02:17:35.123Z""#),
    ("date-time", "1675045055000", r#""2023-01-30T02:17:35.000Z""#),
    ("date-time", "1675045055123456", r#""2023-01-30T02:17:35.123456Z""#),
    ("date-time", "1675045055123456789", r#""2023-01-30T02:17:35.123456789Z""#),
    ("date-time", "1000000000", r#""2001-09-09T01:46:40Z""#),
    ("date-time", "999999999", r#""2001-09-09T01:46:39Z""#),
    ("date-time", "100000000", r#""1973-03-03T09:46:40Z""#),
    ("date-time", "9999999999", r#""2286-11-20T17:46:39Z""#),
    ("date-time", "100000000000", r#""1973-03-03T09:46:40.000Z""#),
    ("date-time", "-1000000000", r#""1938-04-24T22:13:20Z""#),
    ("date-time", "-1000000000000", r#""1938-04-24T22:13:20.000Z""#),
    // Fractions of epochs, to the last digit.
    ("date-time", "1675045055.5", r#""2023-01-30T02:17:35.5Z""#),
    ("date-time", r#""1675045055.123456789012""#, r#""2023-01-30T02:17:35.123456789012Z""#),
    ("date-time", "1675045055.0", r#""2023-01-30T02:17:35.0Z""#),
    ("date-time", "1675045055123.25", r#""2023-01-30T02:17:35.12325Z""#),
    ("date-time", "-1000000000.250", r#""1938-04-24T22:13:19.750Z""#),
    ("date-time", "-1000000000001", r#""1938-04-24T22:13:19.999Z""#),
    ("date-time", "1.675045055e9", r#""2023-01-30T02:17:35Z""#),
    ("date-time", "1.675045055123E+12", r#""2023-01-30T02:17:35.123Z""#),
    ("date-time", "16750450551e-1", r#""2023-01-30T02:17:35.1Z""#),
    ("date-time", "16e8", r#""2020-09-13T12:26:40Z""#),
    ("date-time", "0.0000000016750450550e18", r#""2023-01-30T02:17:35.0Z""#),
    ("date-time", r#""1.675045055e9""#, ""),
    ("date-time", "1e999999999999", ""),
    ("date-time", "1e40", ""),
    // Not epochs: the dates would be implausible.
    ("date-time", "0", ""),
    ("date-time", "-0.0", ""),
    ("date-time", "1", ""),
    ("date-time", "2023", ""),
    ("date-time", "86400000", ""),
    ("date-time", "99999999999", ""),
    ("date-time", "20230130023415", ""),
    ("date-time", r#""20230130023415""#, ""),
    ("date-time", "12345678901234567890", ""),
    ("date-time", r#""0167504505""#, ""),
    ("date-time", r#""+1675045055""#, ""),
    ("date-time", r#""1,675,045,055""#, ""),
    // The end of the year 9999 stands for "never". As milliseconds it would be a day in 1978.
    ("date-time", "253402300799", ""),
    ("date-time", "253402300799000", ""),
    // The form `date`.
    ("date", r#""2023-01-30""#, ""),
    ("date", r#""2023-01-30T00:00:00Z""#, r#""2023-01-30""#),
    ("date", r#""2023-01-30T00:00:00.000+05:30""#, r#""2023-01-30""#),
    ("date", r#""2023-01-30 00:00""#, r#""2023-01-30""#),
    ("date", r#""2023-01-30T02:34:15Z""#, ""),
    ("date", r#""2023-01-30 02:34:15""#, r#""2023-01-30T02:34:15Z""#),
    ("date", r#""2023-01-30T00:00:00.001""#, r#""2023-01-30T00:00:00.001Z""#),
    ("date", r#""20230130""#, r#""2023-01-30""#),
    ("date", r#""2023-02-30""#, ""),
    ("date", r#""2023-01-30Z""#, ""),
    ("date", "1675036800", r#""2023-01-30""#),
    ("date", "1675036800000", r#""2023-01-30""#),
    ("date", "1675036801", r#""2023-01-30T00:00:01Z""#),
    ("date", "19387", ""),
    ("date", r#""10:20:30""#, ""),
    // Both forms.
    ("either", r#""2023-01-30""#, ""),
    ("either", r#""2023-01-30T00:00:00Z""#, ""),
    ("either", r#""2023-01-30 00:00:00""#, r#""2023-01-30T00:00:00Z""#),
    ("either", "1675036800", r#""2023-01-30T00:00:00Z""#),
    // Cut, at any time.
    ("cut", r#""2023-01-30""#, ""),
    ("cut", r#""2023-01-30T02:34:15Z""#, r#""2023-01-30""#),
    ("cut", r#""2023-01-30 23:34:15-08:00""#, r#""2023-01-30""#),
    ("cut", "1675045055123", r#""2023-01-30""#),
    ("cut", r#""soon""#, ""),
    ("cut", "5", ""),
];

fn dates_of(declared: &str) -> Stream {
    let schema = match declared {
        "either" => {
            at(&json!({"oneOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}))
        }
        "cut" => json!({}),
        format => at(&json!({"type": ["null", "string"], "format": format})),
    };
    let cut = if declared == "cut" { vec!["/at".to_owned()] } else { Vec::new() };
    Stream::of(&schema, Typed::Key(&[]), &cut).unwrap()
}

#[test]
fn values_are_rewritten_as_the_table_says() {
    let mut wrong = Vec::new();
    for (declared, value, becomes) in VALUES {
        let mut dates = dates_of(declared);
        let becomes = if becomes.is_empty() { value } else { becomes };
        for document in [r#"{"at":VALUE}"#, r#"{"at" : VALUE , "b":1}"#, r#"{"at":1,"b":"at","at": VALUE}"#] {
            let want = document.replace("VALUE", becomes);
            let got = dates.normalized(&document.replace("VALUE", value));
            if got != want {
                wrong.push(format!("{declared}: {value}: {got}, not {want}"));
            }
        }
        let once = format!(r#"{{"at":{becomes}}}"#);
        let again = dates.normalized(&once);
        if again != once {
            wrong.push(format!("{declared}: {becomes} becomes {again} the second time"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Common values need no traversal.
#[test]
fn the_fast_check_recognizes_rfc_3339() {
    let right = [
        ("date-time", r#""2023-01-30T02:34:15Z""#),
        ("date-time", r#""2023-01-30T02:34:15.123456+05:30""#),
        ("date-time", r#""""#),
        ("date-time", "null"),
        ("date", r#""2023-01-30""#),
        ("either", r#""2023-01-30""#),
        ("either", r#""2023-01-30T00:00:00Z""#),
        ("cut", r#""2023-01-30""#),
    ];
    for (declared, value) in right {
        assert!(dates_of(declared).is_right(&format!(r#"{{"a":"at","at": {value},"b":"\u00e9"}}"#)), "{value}");
    }
}
