//! Amounts of resources as numbers: just enough of `resource.Quantity` for a node.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The amount in thousandths, rounded up; `None` where the text is no quantity.
///
/// ```
/// use podsync::quantity::milli;
/// assert_eq!(milli("250m"), Some(250));
/// assert_eq!(milli("1Gi"), Some(1_073_741_824_000));
/// assert_eq!(milli("1.5"), Some(1500));
/// assert_eq!(milli("2e3"), Some(2_000_000));
/// assert_eq!(milli("x"), None);
/// ```
#[must_use]
pub fn milli(text: &str) -> Option<i128> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && part.is_empty() || part.len() > 12 {
        return None;
    }
    let mantissa: i128 = format!("{whole}{part}").parse().ok()?;
    let below = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let (over, under) = scale(suffix)?;
    let top = mantissa.checked_mul(over)?.checked_mul(1000)?;
    let bottom = below.checked_mul(under)?;
    let value = top.div_euclid(bottom) + i128::from(top.rem_euclid(bottom) != 0);
    Some(if negative { -value } else { value })
}

/// The suffix as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = 10_i128.checked_pow(exponent.unsigned_abs().min(18))?;
            if exponent < 0 { (1, size) } else { (size, 1) }
        }
    })
}

/// Thousandths of the amount under `name`, 0 where it is absent or no quantity.
#[must_use]
pub fn milli_of(amounts: Option<&std::collections::BTreeMap<String, Quantity>>, name: &str) -> i64 {
    amounts
        .and_then(|amounts| amounts.get(name))
        .and_then(|quantity| milli(&quantity.0))
        .map_or(0, |value| i64::try_from(value).unwrap_or(i64::MAX))
}

/// Whole units of the amount under `name`, rounded up; 0 where it is absent.
#[must_use]
pub fn whole_of(amounts: Option<&std::collections::BTreeMap<String, Quantity>>, name: &str) -> i64 {
    amounts.and_then(|amounts| amounts.get(name)).and_then(|quantity| milli(&quantity.0)).map_or(
        0,
        |value| {
            let whole = value.div_euclid(1000) + i128::from(value.rem_euclid(1000) != 0);
            i64::try_from(whole).unwrap_or(i64::MAX)
        },
    )
}
