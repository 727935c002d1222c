//! How long ago, as people read it: `5s`, `2m10s`, `45h`, `3d4h`.

use jiff::Timestamp;

/// Seconds as two or three significant figures; what lies ahead by a second counts as now.
///
/// Infallible: what lies further ahead is `<invalid>`.
///
/// Source: apimachinery v1.36 `pkg/util/duration/duration.go`, `HumanDuration`.
#[must_use]
pub fn human(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => two(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => two(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

/// The time from `then` to `now`; `<unknown>` without a `then`.
#[must_use]
pub fn since(then: Option<Timestamp>, now: Timestamp) -> String {
    // Whole seconds towards zero, as upstream's conversion from nanoseconds.
    let elapsed = |then| {
        i64::try_from((now.as_nanosecond() - Timestamp::as_nanosecond(then)) / 1_000_000_000)
    };
    match then.map(elapsed) {
        Some(Ok(seconds)) => human(seconds),
        Some(Err(_)) => "<invalid>".to_owned(),
        None => "<unknown>".to_owned(),
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}
