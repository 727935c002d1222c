//! Every rule of a StatefulSet has a test that bears its id: `docs/statefulset-rules.md` against the
//! sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::command::root;

/// Groups of rules, and how many each has.
const GROUPS: &[(&str, usize)] = &[
    ("G", 3),
    ("D", 9),
    ("S", 6),
    ("V", 18),
    ("C", 3),
    ("N", 9),
    ("K", 11),
    ("R", 11),
    ("Y", 13),
    ("L", 8),
    ("X", 4),
    ("U", 5),
    ("M", 5),
    ("T", 10),
    ("E", 4),
    ("A", 7),
    ("O", 2),
    ("Q", 5),
    ("17.", 20),
];

/// Rules that are a section of their own.
const SECTIONS: &[&str] = &["15", "16"];

/// Where these ids are meant; elsewhere the same letters are ids of the API's rules.
const PROOFS: &[&str] = &[
    "crates/api/src/columns/tests.rs",
    "crates/api/src/defaults/tests.rs",
    "crates/api/src/prepare/tests.rs",
    "crates/api/src/validation/tests/apps.rs",
    "crates/api/src/warnings/tests.rs",
    "crates/apiserver/src/access/tests/rbac.rs",
    "crates/apiserver/src/tests/sets.rs",
    "crates/controllers/src/statefulset/tests",
    "crates/manager/src/queue.rs",
    "crates/manager/src/tests.rs",
    "crates/manager/src/tests",
    "crates/stead/tests/e2e/behaviours",
];

/// What is wrong with the page, given the names of all tests.
fn faults(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ways: BTreeMap<&str, &str> = BTreeMap::new();
    for row in page.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [id, way, rule] = cells[..] else {
            faults.push(format!("{row}: a row is id, what stead does, the rule"));
            continue;
        };
        if id == "id" {
            continue;
        }
        if !["keep", "fix", "absent"].contains(&way) || rule.is_empty() {
            faults.push(format!("{id}: `{way}` is neither keep, fix nor absent, or no rule"));
        }
        if ways.insert(id, way).is_some() {
            faults.push(format!("{id} stands there twice"));
        }
    }
    let numbered = |(group, count): &(&str, usize)| {
        (1..=*count).map(|number| format!("{group}{number}")).collect::<Vec<_>>()
    };
    let wanted: Vec<String> =
        GROUPS.iter().flat_map(numbered).chain(SECTIONS.iter().map(|&id| id.to_owned())).collect();
    faults.extend(
        wanted
            .iter()
            .filter(|id| !ways.contains_key(id.as_str()))
            .map(|id| format!("{id} is not on the page")),
    );
    faults.extend(
        ways.keys()
            .filter(|id| !wanted.iter().any(|w| w == *id))
            .map(|id| format!("{id} is no rule")),
    );
    for (id, way) in ways {
        let proofs: Vec<&String> = tests.iter().filter(|name| proves(name, id)).collect();
        let shows = |name: &&String| name.contains("_fix") || name.starts_with("section_18_");
        match way {
            "absent" if !proofs.is_empty() => {
                faults.push(format!("{id} is absent, and {proofs:?}"))
            }
            "absent" => {}
            _ if proofs.is_empty() => faults.push(format!("{id} has no test")),
            "fix" if !proofs.iter().any(shows) => {
                faults.push(format!("{id} has no test that shows upstream's way: {proofs:?}"));
            }
            _ => {}
        }
    }
    faults
}

/// Whether a test of this name bears this id: as a word, or within a range `d1_to_d7`.
fn proves(test: &str, id: &str) -> bool {
    let id = id.to_lowercase().replace("17.", "b");
    if id.starts_with(|first: char| first.is_ascii_digit()) {
        return test.starts_with(&format!("section_{id}_"));
    }
    let words: Vec<&str> = test.split('_').collect();
    let within = |range: &[&str]| {
        let [from, "to", to] = range else { return false };
        let number = |word: &str| word.get(1..).and_then(|digits| digits.parse::<u32>().ok());
        let group = |word: &str| word.get(..1).map(str::to_owned);
        let alike = group(from) == group(&id) && group(to) == group(&id);
        alike && (number(from)..=number(to)).contains(&number(&id)) && number(&id).is_some()
    };
    words.contains(&id.as_str()) || words.windows(3).any(within)
}

fn tests_in(path: &Path, found: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            tests_in(&entry.unwrap().path(), found);
        }
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    let behaviours = path.components().any(|part| part.as_os_str() == "behaviours");
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        let name = line.split_once("fn ").map(|(_, rest)| rest);
        let name = name.and_then(|rest| rest.split_once('(')).map(|(name, _)| name);
        match name {
            Some(name) if marked || behaviours => {
                found.insert(name.to_owned());
                marked = false;
            }
            _ => {
                marked = line.starts_with("#[test]")
                    || line.starts_with("#[tokio::test")
                    || (marked && line.starts_with("#["))
            }
        }
    }
}

#[test]
fn every_rule_of_a_stateful_set_has_its_test() {
    let page = fs::read_to_string(root().join("docs/statefulset-rules.md")).unwrap();
    let mut tests = BTreeSet::new();
    PROOFS.iter().for_each(|proof| tests_in(&root().join(proof), &mut tests));
    let faults = faults(&page, &tests);
    assert!(faults.is_empty(), "docs/statefulset-rules.md:\n{}", faults.join("\n"));
}

#[test]
fn a_rule_without_its_test_is_seen() {
    let page = fs::read_to_string(root().join("docs/statefulset-rules.md")).unwrap();
    let mut tests = BTreeSet::new();
    PROOFS.iter().for_each(|proof| tests_in(&root().join(proof), &mut tests));
    let without = |id: &str| {
        let left = tests.iter().filter(|name| !proves(name, id)).cloned().collect();
        faults(&page, &left)
    };
    for id in ["N5", "D3", "17.4", "16"] {
        assert!(without(id).contains(&format!("{id} has no test")), "{id}");
    }
    let shorter = page.replace("| N5 |", "| N55 |");
    let said = faults(&shorter, &tests);
    assert!(said.contains(&"N5 is not on the page".to_owned()), "{said:?}");
    assert!(said.contains(&"N55 is no rule".to_owned()), "{said:?}");
    assert!(proves("d1_to_d7_defaults", "D3") && !proves("d1_to_d7_defaults", "D8"));
    assert!(!proves("v10_v13_claims", "V1") && proves("b4_rolling", "17.4"));
}
