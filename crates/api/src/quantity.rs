//! Amounts of CPU, memory and storage: `500m`, `1Gi`, `1e3`, with exact arithmetic.
//!
//! The form a quantity is printed in is canonical: no fraction digits, no exponent that could be
//! larger, the suffix family kept. Source: apimachinery v1.36 `pkg/api/resource/quantity.go`.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    ops::{Add, AddAssign, Sub},
};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use thiserror::Error;

/// Billionths in one: the finest grain a quantity has.
const NANOS: i128 = 1_000_000_000;

/// The largest amount that is kept exactly; larger ones are cut to it, as upstream does.
const MAX_NANOS: i128 = i64::MAX as i128 * NANOS;

/// Which suffixes a quantity is printed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `n u m "" k M G T P E`
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`
    BinarySi,
    /// `e3`, `e6`, …
    DecimalExponent,
}

/// An exact amount in billionths, and how to print it.
///
/// Equality and order look at the amount only: `1Gi` equals `1024Mi`.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// The text has another shape altogether.
    #[error(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Shape,
    /// What stands before the suffix is no number.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Reads `1`, `0.5`, `500m`, `1Gi`, `1e3`, …; finer than a billionth is rounded away from zero.
    ///
    /// # Errors
    ///
    /// When the text is no quantity, in upstream's words.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (number, suffix) = split(text)?;
        let (format, base, exponent) = suffix_of(suffix)?;
        let mut nanos = scale(number, base, exponent)?;
        nanos = nanos.clamp(-MAX_NANOS, MAX_NANOS);
        let below_one = nanos > 0 && nanos < NANOS;
        let format =
            if format == Format::BinarySi && below_one { Format::DecimalSi } else { format };
        Ok(Self { nanos, format })
    }

    /// This many thousandths, printed with decimal suffixes.
    #[must_use]
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * (NANOS / 1000), format: Format::DecimalSi }
    }

    /// This many bytes, printed with binary suffixes.
    #[must_use]
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANOS, format: Format::BinarySi }
    }

    /// The whole amount, a fraction rounded away from zero.
    #[must_use]
    pub fn value(self) -> i64 {
        saturate(divide_up(self.nanos, NANOS))
    }

    /// The amount in thousandths, a fraction rounded away from zero.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        saturate(divide_up(self.nanos, NANOS / 1000))
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is less than nothing.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it has no fraction.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nanos % NANOS == 0
    }

    /// Rounded up to thousandths, as every list of resources is.
    #[must_use]
    pub fn round_up_to_milli(self) -> Self {
        let unit = NANOS / 1000;
        Self { nanos: divide_up(self.nanos, unit) * unit, ..self }
    }

    /// Which suffixes it is printed with.
    #[must_use]
    pub fn format(self) -> Format {
        self.format
    }

    /// The field as an object carries it.
    #[must_use]
    pub fn written(self) -> Written {
        Written(self.to_string())
    }
}

/// The amount of a field; what is no quantity counts as nothing (validation reports it).
#[must_use]
pub fn of(field: &Written) -> Quantity {
    Quantity::parse(&field.0).unwrap_or(Quantity::ZERO)
}

/// The amount of one resource of a list; nothing when the list lacks it.
#[must_use]
pub fn in_list(list: Option<&BTreeMap<String, Written>>, resource: &str) -> Quantity {
    list.and_then(|list| list.get(resource)).map_or(Quantity::ZERO, of)
}

/// Thousandths of one resource of a list; 0 when the list lacks it.
#[must_use]
pub fn milli_of(list: Option<&BTreeMap<String, Written>>, resource: &str) -> i64 {
    in_list(list, resource).milli_value()
}

/// Whole units of one resource of a list, rounded up; 0 when the list lacks it.
#[must_use]
pub fn whole_of(list: Option<&BTreeMap<String, Written>>, resource: &str) -> i64 {
    in_list(list, resource).value()
}

/// Rewrites a field into its canonical form; what is no quantity stays for validation to report.
pub fn canonicalise(field: &mut Written) {
    if let Ok(quantity) = Quantity::parse(&field.0) {
        replace(field, quantity);
    }
}

/// Rewrites every entry of a list of resources: canonical, and rounded up to thousandths.
pub fn canonicalise_list(list: &mut BTreeMap<String, Written>) {
    for field in list.values_mut() {
        if let Ok(quantity) = Quantity::parse(&field.0) {
            replace(field, quantity.round_up_to_milli());
        }
    }
}

fn replace(field: &mut Written, quantity: Quantity) {
    let text = quantity.to_string();
    if text != field.0 {
        field.0 = text;
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The sum, printed as the first that is not nothing.
    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos + other.nanos, format }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Quantity {
    type Output = Self;

    /// The difference, printed as the first that is not nothing.
    fn sub(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos - other.nanos, format }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let whole = self.nanos / NANOS;
        if self.format == Format::BinarySi && self.is_whole() && whole.abs() >= 1024 {
            return binary(whole, f);
        }
        decimal(self.nanos, self.format == Format::DecimalExponent, f)
    }
}

fn binary(mut whole: i128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut step = 0;
    while whole % 1024 == 0 && step < 6 {
        whole /= 1024;
        step += 1;
    }
    write!(f, "{whole}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step])
}

fn decimal(nanos: i128, exponent_form: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (mut mantissa, mut step) = (nanos, 0);
    while mantissa % 1000 == 0 && step < 9 {
        mantissa /= 1000;
        step += 1;
    }
    if exponent_form {
        let exponent = ["e-9", "e-6", "e-3", "", "e3", "e6", "e9", "e12", "e15", "e18"][step];
        return write!(f, "{mantissa}{exponent}");
    }
    write!(f, "{mantissa}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][step])
}

/// The number and the suffix of a text whose characters stand where they may.
fn split(text: &str) -> Result<(&str, &str), QuantityError> {
    let bytes = text.as_bytes();
    let signed = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let digits = bytes[signed..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    if digits == 0 {
        return Err(QuantityError::Shape);
    }
    let (number, suffix) = text.split_at(signed + digits);
    let tail = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let tail = tail.strip_prefix(['+', '-']).unwrap_or(tail);
    if tail.bytes().all(|b| b.is_ascii_digit()) {
        Ok((number, suffix))
    } else {
        Err(QuantityError::Shape)
    }
}

fn suffix_of(suffix: &str) -> Result<(Format, i128, i32), QuantityError> {
    let (format, base, exponent) = match suffix {
        "n" => (Format::DecimalSi, 10, -9),
        "u" => (Format::DecimalSi, 10, -6),
        "m" => (Format::DecimalSi, 10, -3),
        "" => (Format::DecimalSi, 10, 0),
        "k" => (Format::DecimalSi, 10, 3),
        "M" => (Format::DecimalSi, 10, 6),
        "G" => (Format::DecimalSi, 10, 9),
        "T" => (Format::DecimalSi, 10, 12),
        "P" => (Format::DecimalSi, 10, 15),
        "E" => (Format::DecimalSi, 10, 18),
        "Ki" => (Format::BinarySi, 1024, 1),
        "Mi" => (Format::BinarySi, 1024, 2),
        "Gi" => (Format::BinarySi, 1024, 3),
        "Ti" => (Format::BinarySi, 1024, 4),
        "Pi" => (Format::BinarySi, 1024, 5),
        "Ei" => (Format::BinarySi, 1024, 6),
        other => {
            let Some(digits) = other.strip_prefix(['e', 'E']) else {
                return Err(QuantityError::Suffix);
            };
            let exponent = digits.parse().map_err(|_| QuantityError::Suffix)?;
            (Format::DecimalExponent, 10, exponent)
        }
    };
    Ok((format, base, exponent))
}

/// `number × base^exponent` in billionths, rounded away from zero, cut at ±[`MAX_NANOS`].
fn scale(number: &str, base: i128, exponent: i32) -> Result<i128, QuantityError> {
    let negative = number.starts_with('-');
    let number = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(QuantityError::Number);
    }
    // digits × 10^-fraction.len() × base^exponent × 10^9; 36 digits fit i128.
    let mut digits: i128 = 0;
    let mut ten: i64 = 9 - i64::try_from(fraction.len()).unwrap_or(i64::MAX / 2);
    let mut inexact = false;
    for (position, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
        if digits < 10_i128.pow(27) {
            digits = digits * 10 + i128::from(byte - b'0');
        } else {
            inexact |= byte != b'0';
            ten = ten.saturating_add(1);
            if position < whole.len() && ten > 40 {
                return Ok(if negative { -MAX_NANOS } else { MAX_NANOS });
            }
        }
    }
    if base == 10 {
        ten = ten.saturating_add(i64::from(exponent));
    } else {
        for _ in 0..exponent {
            digits = digits.saturating_mul(base);
        }
    }
    let mut nanos = digits;
    while ten > 0 && nanos != 0 {
        nanos = nanos.saturating_mul(10);
        ten -= 1;
        if nanos > MAX_NANOS {
            break;
        }
    }
    while ten < 0 && nanos != 0 {
        inexact |= nanos % 10 != 0;
        nanos /= 10;
        ten += 1;
    }
    nanos = nanos.saturating_add(i128::from(inexact || (nanos == 0 && digits != 0)));
    let nanos = nanos.min(MAX_NANOS);
    Ok(if negative { -nanos } else { nanos })
}

/// The quotient rounded away from zero.
fn divide_up(amount: i128, unit: i128) -> i128 {
    let quotient = amount / unit;
    if amount % unit == 0 { quotient } else { quotient + amount.signum() }
}

fn saturate(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, canonical: &str) {
        let printed =
            Quantity::parse(text).map_or_else(|error| error.to_string(), |q| q.to_string());
        assert_eq!(printed, canonical, "{text}");
    }

    #[test]
    fn canonical_form() {
        for (text, canonical) in [
            ("0", "0"),
            ("0Gi", "0"),
            ("1", "1"),
            ("0.5", "500m"),
            ("-0.5", "-500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("+1", "1"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("0.1Ki", "102400m"),
            ("0.0001Ki", "102400u"),
            ("1023", "1023"),
            ("64Mi", "64Mi"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1E", "1E"),
            ("12e-1", "1200e-3"),
            ("1e-12", "1e-9"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1000000n", "1m"),
            ("9223372036854775808", "9223372036854775807"),
            ("100E", "9223372036854775807"),
            ("1000000000000000000000000000001Ei", "9223372036854775807"),
            ("99999999999999999999999999999999999999999999", "9223372036854775807"),
            ("1e999999999", "9223372036854775807e0"),
        ] {
            let canonical = canonical.trim_end_matches("e0");
            check(text, canonical);
        }
    }

    #[test]
    fn refused() {
        let shape = QuantityError::Shape.to_string();
        for text in ["", "x", "1x", "Gi", "1 Gi", "--1", "1Gi1x"] {
            check(text, &shape);
        }
        check("1KI", &shape);
        check("1.2.3", "unable to parse numeric part of quantity");
        check(".", "unable to parse numeric part of quantity");
        check("1Mii", "unable to parse quantity's suffix");
        check("1e", "unable to parse quantity's suffix");
    }

    #[test]
    fn arithmetic() {
        let parse = |text| Quantity::parse(text).unwrap();
        assert_eq!((parse("500m") + parse("0.5")).to_string(), "1");
        assert_eq!((parse("1Gi") - parse("512Mi")).to_string(), "512Mi");
        assert_eq!((Quantity::ZERO + parse("1Gi")).to_string(), "1Gi");
        assert!(parse("1Gi") == parse("1024Mi") && parse("1G") < parse("1Gi"));
        assert_eq!((parse("1.2").value(), parse("1.2").milli_value()), (2, 1200));
        assert_eq!((parse("-1.2").value(), parse("1u").milli_value()), (-2, 1));
        assert_eq!(parse("1u").round_up_to_milli().to_string(), "1m");
        assert!(!parse("1.5").is_whole() && parse("1500m") == Quantity::from_milli(1500));
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_is_read_again(
            nanos in -MAX_NANOS..=MAX_NANOS,
            whole in proptest::bool::ANY,
            format in proptest::sample::select(vec![
                Format::DecimalSi, Format::BinarySi, Format::DecimalExponent,
            ]),
        ) {
            let nanos = if whole { nanos / NANOS * NANOS } else { nanos };
            let quantity = Quantity { nanos, format };
            let text = quantity.to_string();
            let read = Quantity::parse(&text).unwrap();
            proptest::prop_assert_eq!(read, quantity, "{}", text);
            proptest::prop_assert_eq!(read.to_string(), text);
        }

        #[test]
        fn no_text_panics(text in "[+-]?[0-9]{0,60}[.]?[0-9]{0,40}([eE][+-]?[0-9]{0,12}|[numkMGTPE]|[KMGTPE]i|[a-zA-Z]{0,2})") {
            if let Ok(quantity) = Quantity::parse(&text) {
                proptest::prop_assert!(Quantity::parse(&quantity.to_string()).is_ok(), "{}", text);
            }
        }
    }
}
