//! Times and durations as the interface writes them (spec 1.2, 2.3).

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_S: u64 = 86_400;

/// `Thu, 20 Oct 2016 08:30:00 GMT`.
pub(super) fn rfc1123(time_ms: u64) -> String {
    let seconds = time_ms / 1000;
    let (days, rest) = (seconds / DAY_S, seconds % DAY_S);
    let (year, month, day) = date(days);
    let weekday = DAYS[usize::try_from(days % 7).unwrap_or_default()];
    let month = MONTHS[usize::try_from(month - 1).unwrap_or_default()];
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

/// `[D day[s], ]H:MM:SS[.ffffff]`.
pub(super) fn duration(duration_ms: u64) -> String {
    let (seconds, millis) = (duration_ms / 1000, duration_ms % 1000);
    let (days, rest) = (seconds / DAY_S, seconds % DAY_S);
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        days => format!("{days} days, "),
    };
    let micros = if millis == 0 { String::new() } else { format!(".{millis:03}000") };
    format!("{days}{hours}:{minutes:02}:{seconds:02}{micros}")
}

/// Year, month and day of a day counted from 1 January 1970. Counts in years that begin in March,
/// so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    // 1 March 0000 is 719 468 days before; 400 years have 146 097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_other_programs() {
        for (time_ms, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_476_952_200_999, "Thu, 20 Oct 2016 08:30:00 GMT"),
            (951_782_399_000, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800_000, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_735_689_599_000, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400_000, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(rfc1123(time_ms), expected);
        }
    }

    #[test]
    fn durations_are_those_of_the_original() {
        for (duration_ms, expected) in [
            (0, "0:00:00"),
            (61_000, "0:01:01"),
            (3_600_000 * 10 + 5, "10:00:00.005000"),
            (86_400_000, "1 day, 0:00:00"),
            (3 * 86_400_000 + 123, "3 days, 0:00:00.123000"),
        ] {
            assert_eq!(duration(duration_ms), expected);
        }
    }
}
