//! The keeper's clocks: wall time for records and logs, steady time for graces.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall time.
#[expect(clippy::disallowed_methods, reason = "the keeper is a shell: it stamps logs and exits")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since some fixed moment; never goes back.
pub(crate) fn steady_ms() -> u64 {
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `spec` is a live value that the kernel fills in.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut spec) };
    let seconds = u64::try_from(spec.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(spec.tv_nsec).unwrap_or(0) / 1_000_000
}

/// `2026-11-20T11:00:00.123456789Z`: RFC 3339 with nine digits, as CRI logs have it.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days to civil date: eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, rest) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{rest:02}.{:09}Z",
        since.subsec_nanos()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: u64, nanos: u32, expected: &str) {
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::new(seconds, nanos)), expected);
    }

    #[test]
    fn dates() {
        check(0, 0, "1970-01-01T00:00:00.000000000Z");
        check(951_782_400, 1, "2000-02-29T00:00:00.000000001Z");
        check(1_795_172_400, 123_456_789, "2026-11-20T11:00:00.123456789Z");
        check(4_107_542_399, 999_999_999, "2100-02-28T23:59:59.999999999Z");
    }
}
