//! Does what was printed match what a transcript shows?
//!
//! `[..]` any text within a line, `...` alone any lines, `[AGE]`, `[IP]`, `[HASH]` what they say;
//! runs of spaces compare as one, blank lines at the end do not count.

use regex::Regex;

/// Matches whole output; on failure, what a person needs to see.
pub(crate) fn check(expected: &[String], printed: &str) -> Result<(), String> {
    let wanted: Vec<Line> =
        trimmed(expected.iter().map(String::as_str)).iter().map(|l| line(l)).collect();
    let lines = trimmed(printed.lines());
    if matches(&wanted, &lines) {
        return Ok(());
    }
    Err(format!(
        "--- expected\n{}\n--- printed\n{}\n---",
        expected.join("\n").trim_end(),
        printed.trim_end()
    ))
}

enum Line {
    Any,
    One(Regex),
}

fn trimmed<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<String> = lines.map(squeeze).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line(text: &str) -> Line {
    if text == "..." {
        return Line::Any;
    }
    let mut pattern = regex::escape(text);
    for (token, stands_for) in [
        ("[..]", ".*"),
        ("[AGE]", r"(?:\d+[smhdy])+"),
        ("[IP]", r"\d{1,3}(?:\.\d{1,3}){3}"),
        ("[HASH]", "[a-z0-9]+"),
    ] {
        pattern = pattern.replace(&regex::escape(token), stands_for);
    }
    // A pattern at a word's edge may stand for nothing, and then its space went with the runs.
    pattern = pattern.replace(" .* ", " (?:.* )?").replace(" .*", "(?: .*|.*)?");
    Line::One(Regex::new(&format!("^{pattern}$")).unwrap())
}

fn matches(wanted: &[Line], lines: &[String]) -> bool {
    match wanted.split_first() {
        None => lines.is_empty(),
        Some((Line::Any, rest)) => (0..=lines.len()).any(|skip| matches(rest, &lines[skip..])),
        Some((Line::One(regex), rest)) => lines
            .split_first()
            .is_some_and(|(first, others)| regex.is_match(first) && matches(rest, others)),
    }
}

#[test]
fn patterns() {
    for (expected, printed, fits) in [
        ("web-0   1/1   [AGE]", "web-0 1/1    2m10s\n\n", true),
        ("web-0   1/1   [AGE]", "web-0 1/1    now", false),
        ("a\n...\nz", "a\nb\nc\nz", true),
        ("a\n...\nz", "a\nz", true),
        ("...\nz", "z\ny", false),
        ("pod \"web-0\" deleted[..]", "pod \"web-0\" deleted from default namespace", true),
        ("pod \"web-0\" deleted[..]", "pod \"web-0\" deleted", true),
        ("datadir   5Gi   [..]   [..]   local", "datadir 5Gi Available local", true),
        ("Address: [IP]", "Address: 10.244.0.7", true),
        ("a", "a\nb", false),
    ] {
        let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
        let found = check(&expected, printed).is_ok();
        assert_eq!(found, fits, "{expected:?} against {printed:?}");
    }
}
