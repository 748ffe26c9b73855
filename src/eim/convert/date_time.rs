//! The times that messages of other EIMs carry, as milliseconds since 1970.

/// The last millisecond of the year 9999, which is the schema's bound of a time.
const LATEST: u64 = 253_402_300_799_999;
const SECOND_MS: u64 = 1000;
const DAY_S: u64 = 86_400;

/// Seconds since 1970, a fraction allowed.
pub(super) fn from_seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let seconds = digits(whole, 1..=12)?;
    let ms = fraction.map_or(Some(0), milliseconds)?;
    Some(seconds * SECOND_MS + ms).filter(|time| *time <= LATEST)
}

/// A date and time of XEP-0082 section 3.2: `CCYY-MM-DDThh:mm:ss[.sss]TZD`, from 1970 on.
pub(super) fn from_profile(text: &str) -> Option<u64> {
    let (date, clock) = text.split_once('T')?;
    let mut date = date.split('-');
    let (year, month, day) = (digits(date.next()?, 4..=4)?, digits(date.next()?, 2..=2)?, digits(date.next()?, 2..=2)?);
    let at = clock.find(['Z', '+', '-'])?;
    let (clock, zone) = clock.split_at(at);
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, fraction)| (clock, Some(fraction)));
    let mut clock = clock.split(':');
    let (hour, minute, second) =
        (digits(clock.next()?, 2..=2)?, digits(clock.next()?, 2..=2)?, digits(clock.next()?, 2..=2)?);
    let ms = fraction.map_or(Some(0), milliseconds)?;
    let is_date = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    // A leap second is the last one of its minute once more.
    let is_clock = hour < 24 && minute < 60 && second <= 60;
    if date.next().is_some() || clock.next().is_some() || !is_date || !is_clock || year < 1970 {
        return None;
    }
    let seconds = days_before(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second.min(59);
    let local = i64::try_from(seconds).ok()?;
    let seconds = u64::try_from(local - offset(zone)?).ok()?;
    Some(seconds * SECOND_MS + ms).filter(|time| *time <= LATEST)
}

/// `Z`, `+hh:mm` or `-hh:mm`, in seconds.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, clock) =
        if let Some(clock) = zone.strip_prefix('+') { (1, clock) } else { (-1, zone.strip_prefix('-')?) };
    let (hours, minutes) = clock.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2..=2)?, digits(minutes, 2..=2)?);
    let seconds = i64::try_from(hours * 3600 + minutes * 60).ok()?;
    (hours < 24 && minutes < 60).then_some(sign * seconds)
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let fits = length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// The first three digits of a fraction of a second.
fn milliseconds(fraction: &str) -> Option<u64> {
    digits(fraction, 1..=12)?;
    let padded: String = fraction.chars().chain("00".chars()).take(3).collect();
    padded.parse().ok()
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to that date.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let years = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum::<u64>();
    years + (1..month).map(|month| days_of(year, month)).sum::<u64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_and_time_is_milliseconds_since_1970() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2019-05-07T10:55:09Z", 1_557_226_509_000),
            ("2019-05-07T12:55:09.5+02:00", 1_557_226_509_500),
            ("2019-05-07T05:25:09.123456-05:30", 1_557_226_509_123),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
            ("9999-12-31T23:59:59.999Z", LATEST),
        ] {
            assert_eq!(from_profile(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn malformed_date_time_is_refused() {
        for text in [
            "",
            "now",
            "2019-05-07",
            "2019-05-07T10:55:09",
            "2019-5-07T10:55:09Z",
            "2019-02-29T10:55:09Z",
            "2019-13-01T10:55:09Z",
            "2019-05-07T24:00:00Z",
            "2019-05-07T10:55:09.Z",
            "2019-05-07T10:55:09+2:00",
            "2019-05-07T10:55:09Zx",
            "2019-05-07-01T10:55:09Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "99999-01-01T00:00:00Z",
            "２０１９-05-07T10:55:09Z",
        ] {
            assert_eq!(from_profile(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(from_seconds("1557226509"), Some(1_557_226_509_000));
        assert_eq!(from_seconds("1557226509.0625"), Some(1_557_226_509_062));
        for text in ["", "-1", "1e9", "1.", ".5", "1.5.2", "9999999999999", "999999999999"] {
            assert_eq!(from_seconds(text), None, "{text}");
        }
    }
}
