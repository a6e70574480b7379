//! Times of day, as people and documents write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dunlin_core::wire::Timestamp;

/// What this machine's clock says.
pub(crate) fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// This much later.
pub(crate) fn after(from: Timestamp, span: Duration) -> Timestamp {
    Timestamp(from.0.saturating_add(span.as_secs()))
}

/// In UTC, to the minute: `2026-11-22 08:49 UTC`.
pub(crate) fn show(at: Timestamp) -> String {
    let (days, seconds) = (at.0 / 86_400, at.0 % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3_600, seconds % 3_600 / 60)
}

/// In UTC, to the second: `2026-11-22 08:49:07 UTC`.
pub(crate) fn show_seconds(at: Timestamp) -> String {
    show(at).replace(" UTC", &format!(":{:02} UTC", at.0 % 60))
}

/// How long ago: `12s`, `5m`, `3h`, `2d`; from a clock ahead of ours, `0s`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.0.saturating_sub(at.0) {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7_200 => format!("{}m", s / 60),
        s @ 7_200..172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// Days since 1970-01-01 as a date (Hinnant, `civil_from_days`, for days that are not negative).
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (4_102_444_800, "2100-01-01 00:00 UTC"),
        ] {
            assert_eq!(show(Timestamp(seconds)), shown);
        }
        let ages = [(0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")];
        for (seconds, shown) in ages {
            assert_eq!(ago(Timestamp(1_000), Timestamp(1_000 + seconds)), shown);
        }
        assert_eq!(ago(Timestamp(1_000), Timestamp(0)), "0s");
    }
}
