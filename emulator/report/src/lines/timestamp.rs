//! Times as milliseconds since 1970, in RFC 3339.

/// Milliseconds of a day.
const DAY_MILLIS: i64 = 86_400_000;

/// Reads a time such as `2026-11-23T12:54:50.550Z`, or a date, which is its midnight in UTC. Digits after the milliseconds
/// are dropped. The years are 1970 to 9999.
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (year, month, day) = (digits(bytes, 0, 4)?, digits(bytes, 5, 2)?, digits(bytes, 8, 2)?);
    if bytes[4] != b'-' || bytes[7] != b'-' || !(1..=12).contains(&month) || !(1..=days(year, month)).contains(&day) {
        return None;
    }
    let midnight = days_since_1970(year, month, day) * DAY_MILLIS;
    if bytes.len() == 10 {
        return (year >= 1970).then_some(midnight);
    }
    // Logs Insights writes a space, and no offset.
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (hour, minute, second) = (digits(bytes, 11, 2)?, digits(bytes, 14, 2)?, digits(bytes, 17, 2)?);
    if bytes[13] != b':' || bytes[16] != b':' || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (mut millis, mut at) = (0, 19);
    if bytes.get(at) == Some(&b'.') {
        let fraction = bytes[20..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if fraction == 0 {
            return None;
        }
        for place in 0..3 {
            millis = millis * 10 + if place < fraction { i64::from(bytes[20 + place] - b'0') } else { 0 };
        }
        at = 20 + fraction;
    }
    let offset_minutes = match &bytes[at..] {
        [b'Z' | b'z'] => 0,
        [] if bytes[10] == b' ' => 0,
        [sign @ (b'+' | b'-'), rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            let (hours, minutes) = (digits(rest, 0, 2)?, digits(rest, 3, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let millis = midnight + (hour * 3600 + (minute - offset_minutes) * 60 + second) * 1000 + millis;
    (year >= 1970).then_some(millis)
}

/// The time as `2026-11-23 12:54`, in UTC.
pub fn minutes(millis: i64) -> String {
    let (year, month, day) = date(millis.div_euclid(DAY_MILLIS));
    let minute = millis.rem_euclid(DAY_MILLIS) / 60_000;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
}

/// The time in RFC 3339, in UTC with milliseconds.
pub fn rfc3339(millis: i64) -> String {
    let rest = millis.rem_euclid(60_000);
    format!("{}:{:02}.{:03}Z", minutes(millis).replace(' ', "T"), rest / 1000, rest % 1000)
}

fn digits(bytes: &[u8], start: usize, count: usize) -> Option<i64> {
    let text = bytes.get(start..start + count)?;
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn days(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Howard Hinnant's [`days_from_civil`](https://howardhinnant.github.io/date_algorithms.html#days_from_civil).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Howard Hinnant's [`civil_from_days`](https://howardhinnant.github.io/date_algorithms.html#civil_from_days).
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_of_the_handler_and_of_the_command_line_are_read() {
        for (text, expected) in [
            ("2026-11-23T12:54:50.550Z", 1_795_438_490_550),
            ("2026-11-23T12:54:50Z", 1_795_438_490_000),
            ("2026-11-23T12:54:50.550123Z", 1_795_438_490_550),
            ("2026-11-23T13:54:50.5+01:00", 1_795_438_490_500),
            ("2026-11-23 12:54:50.550", 1_795_438_490_550),
            ("2026-11-23", 1_795_392_000_000),
            ("1970-01-01", 0),
            ("2024-02-29T00:00:00.001Z", 1_709_164_800_001),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-11-23T",
            "2026-11-23T12:54:50",
            "2026-11-23T25:00:00Z",
            "2026-11-23T12:54:50.Z",
            "2026-11-23T12:54:50+1:00",
            "tomorrow",
            "1969-12-31",
            "2026-11-2é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_time_is_read_again(millis in 0_i64..253_402_300_800_000) {
            prop_assert_eq!(parse(&rfc3339(millis)), Some(millis));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}|[0-9T:.Z+ -]{0,40}") {
            parse(&text);
        }
    }
}
