//! Rules that no compiler states. Each failure says where to go instead, and each rule has a row
//! with a tree that breaks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::command::root;

/// Bottom to top; a crate may depend on lower floors only, never sideways.
const FLOORS: &[(&str, &[&str])] = &[
    ("stdx", &["stdx"]),
    ("words", &["api"]),
    ("decisions", &["admission", "controllers", "network", "podsync", "scheduler"]),
    ("explanations", &["diagnosis"]),
    ("tools", &["client", "host", "store"]),
    ("stand-ins", &["testkit"]),
    ("loops", &["agent", "apiserver", "dns", "manager"]),
    ("doors", &["cli"]),
    ("roof", &["sim", "stead", "xtask"]),
];

/// Who alone may know a crate, beside the roof.
const KNOWN_BY: &[(&str, &[&str], &str)] = &[
    ("store", &["apiserver"], "write through the API: nothing writes to the store beside it"),
    ("host", &["agent", "testkit"], "ask the agent: it alone touches the kernel"),
    ("testkit", &[], "a stand-in is for tests and the simulation"),
];

/// Crates without clock, randomness, files and sockets, and what outside crates they may use.
const PURE: &[&str] =
    &["admission", "api", "controllers", "diagnosis", "network", "podsync", "scheduler"];
const PURE_MAY_USE: &[&str] = &[
    "base64",
    "hickory-proto",
    "jiff",
    "json-patch",
    "k8s-openapi",
    "regex",
    "ring",
    "schemars",
    "serde",
    "serde-saphyr",
    "serde_json",
    "thiserror",
    "flate2",
];

/// Words that deciding crates do not say.
const IMPURE: &[(&str, &str)] = &[
    ("async fn", "a decision does not wait: return a plan"),
    ("std::fs", "a decision reads its view, not files"),
    ("std::net::Tcp", "a decision reads its view, not sockets"),
    ("std::net::Udp", "a decision reads its view, not sockets"),
    ("SystemTime::now", "time is part of the view"),
    ("Instant::now", "time is part of the view"),
    ("Timestamp::now", "time is part of the view"),
    ("Zoned::now", "time is part of the view"),
    ("thread_rng", "chance is part of the view"),
    ("HashMap", "order must replay from a seed: BTreeMap"),
    ("HashSet", "order must replay from a seed: BTreeSet"),
];

/// Compiled for tests only, and they write what the crate includes: they may touch files.
const GENERATORS: &[&str] =
    &["crates/api/src/openapi/generate/mod.rs", "crates/api/src/unsupported/generate.rs"];

/// Lines a file may have; more is two subjects.
const LINES_MAX: usize = 500;

/// Tables and fixtures, which may be longer.
const LONG: &[&str] = &[
    "crates/apiserver/src/access/bootstrap_roles.rs",
    "crates/host/src/container/seccomp_table.rs",
];

/// Names that say nothing.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "misc", "data", "info"];

/// A crate, as the rules see it.
#[derive(Default)]
struct Crate {
    /// Workspace crates it needs to run.
    inside: BTreeSet<String>,
    /// Other crates it needs to run.
    outside: BTreeSet<String>,
    /// Workspace crates its tests need.
    tests: BTreeSet<String>,
    /// Path from the root, and text, of each source file.
    sources: Vec<(String, String)>,
}

type Tree = BTreeMap<String, Crate>;

fn faults(tree: &Tree) -> Vec<String> {
    let rules = [floors, keys_to_rooms, purity, words, shape];
    rules.iter().flat_map(|rule| rule(tree)).collect()
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|(_, crates)| crates.contains(&name))
}

fn floors(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, one) in tree {
        let Some(own) = floor(name) else {
            faults.push(format!("{name} has no floor: add it to FLOORS and ARCHITECTURE.md"));
            continue;
        };
        for other in &one.inside {
            if floor(other).is_some_and(|floor| floor >= own) {
                faults
                    .push(format!("{name} depends on {other}: lower floors only, never sideways"));
            }
        }
    }
    faults
}

fn keys_to_rooms(tree: &Tree) -> Vec<String> {
    let roof = FLOORS.len() - 1;
    let mut faults = Vec::new();
    for (name, one) in tree.iter().filter(|(name, _)| floor(name) != Some(roof)) {
        for (room, keys, instead) in KNOWN_BY {
            if one.inside.contains(*room) && !keys.contains(&&**name) {
                faults.push(format!("{name} depends on {room}: {instead}"));
            }
        }
    }
    faults
}

fn purity(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, one) in tree.iter().filter(|(name, _)| PURE.contains(&&***name)) {
        for other in one.outside.iter().filter(|other| !PURE_MAY_USE.contains(&&***other)) {
            faults.push(format!(
                "{name} depends on {other}: a deciding crate may not; see PURE_MAY_USE"
            ));
        }
        let decides = |path: &str| path.contains("/src/") && !GENERATORS.contains(&path);
        for (path, text) in one.sources.iter().filter(|(path, _)| decides(path)) {
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if let Some((word, instead)) = IMPURE.iter().find(|(word, _)| code.contains(word)) {
                    faults.push(format!("{path}:{}: `{word}`; {instead}", number + 1));
                }
            }
        }
    }
    faults
}

fn words(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.values().flat_map(|one| &one.sources) {
        let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
        if EMPTY_NAMES.contains(&&*stem) {
            faults.push(format!("{path}: `{stem}` says nothing; name what is in it"));
        }
        if path.ends_with("tidy.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for word in ["todo!(", "unimplemented!(", "TODO", "FIXME", "#[ignore", "#[should_panic"]
            {
                if line.contains(word) {
                    faults.push(format!(
                        "{path}:{}: `{word}`: finish it, or say it in the README",
                        number + 1
                    ));
                }
            }
        }
    }
    faults
}

fn shape(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, one) in tree {
        for (path, text) in &one.sources {
            if !text.starts_with("//! ") {
                faults.push(format!("{path}: the first line says what the file is for (//!)"));
            }
            if text.lines().count() > LINES_MAX && !LONG.contains(&&**path) {
                faults.push(format!("{path}: over {LINES_MAX} lines: it has two subjects"));
            }
            let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
            if is_root && name != "host" && !text.contains("#![forbid(unsafe_code)]") {
                faults.push(format!("{path}: only `host` may use unsafe code"));
            }
        }
    }
    faults
}

#[test]
fn this_tree_is_tidy() {
    let faults = faults(&workspace());
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn documents_are_there_and_short() {
    for (document, lines_max) in
        [("README.md", 400), ("ARCHITECTURE.md", 200), ("CONTRIBUTING.md", 300)]
    {
        let text = fs::read_to_string(root().join(document)).unwrap_or_default();
        let lines = text.lines().count();
        assert!((1..=lines_max).contains(&lines), "{document}: {lines} lines of 1 to {lines_max}");
    }
}

/// The transcripts and manifests are the ones the project was created with.
#[test]
fn transcripts_are_unchanged() {
    use ring::digest::{SHA256, digest};
    let list = fs::read_to_string(root().join("tests/SHA256SUMS")).unwrap();
    let mut seen = 0;
    for line in list.lines() {
        let (sum, path) = line.split_once("  ").unwrap();
        let bytes = fs::read(root().join("tests").join(path)).unwrap();
        let found: String =
            digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, sum, "tests/{path} was changed: transcripts are never loosened");
        seen += 1;
    }
    assert_eq!(seen, 20, "tests/SHA256SUMS lists every transcript and manifest");
}

#[test]
fn each_rule_catches_a_tree_that_breaks_it() {
    let rows: &[(&str, &str, &str, &str)] = &[
        // crate, its dependency, a source line, what is said
        ("api", "host", "", "lower floors only"),
        ("manager", "agent", "", "lower floors only"),
        ("nowhere", "", "", "has no floor"),
        ("dns", "store", "", "write through the API"),
        ("cli", "host", "", "ask the agent"),
        ("agent", "testkit", "", "a stand-in is for tests"),
        ("scheduler", "tokio", "", "a deciding crate may not"),
        ("scheduler", "", "async fn wait() {}", "a decision does not wait"),
        ("podsync", "", "let now = SystemTime::now();", "time is part of the view"),
        ("network", "", "use std::collections::HashMap;", "replay from a seed"),
        ("agent", "", "todo!()", "finish it"),
    ];
    for (name, dependency, line, said) in rows {
        let mut one = Crate::default();
        let inside = floor(dependency).is_some();
        if inside {
            one.inside.insert((*dependency).to_owned());
        } else if !dependency.is_empty() {
            one.outside.insert((*dependency).to_owned());
        }
        let text = format!("//! A room.\n#![forbid(unsafe_code)]\n{line}\n");
        one.sources.push((format!("crates/{name}/src/lib.rs"), text));
        let found = faults(&Tree::from([((*name).to_owned(), one)]));
        assert!(found.iter().any(|fault| fault.contains(said)), "{name}, {dependency}: {found:?}");
    }
    let long = "//! Long.\n".repeat(LINES_MAX + 1);
    for (path, text, said) in [
        ("crates/dns/src/zone.rs", long.as_str(), "two subjects"),
        ("crates/dns/src/util.rs", "//! Things.\n", "says nothing"),
        ("crates/dns/src/zone.rs", "fn x() {}\n", "what the file is for"),
        ("crates/dns/src/lib.rs", "//! A room.\n", "unsafe code"),
    ] {
        let one = Crate { sources: vec![(path.to_owned(), text.to_owned())], ..Crate::default() };
        let found = faults(&Tree::from([("dns".to_owned(), one)]));
        assert!(found.iter().any(|fault| fault.contains(said)), "{path}: {found:?}");
    }
}

/// Direct dependencies come in one version, and only the listed crates come in two anywhere.
#[test]
fn duplicate_versions_have_reasons() {
    let metadata = MetadataCommand::new().current_dir(root()).exec().unwrap();
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let resolved: BTreeSet<_> =
        metadata.resolve.as_ref().unwrap().nodes.iter().map(|node| &node.id).collect();
    for package in metadata.packages.iter().filter(|package| resolved.contains(&package.id)) {
        versions.entry(package.name.as_str()).or_default().insert(package.version.to_string());
    }
    let list = fs::read_to_string(root().join("docs/duplicates.txt")).unwrap();
    let allowed: BTreeSet<&str> =
        list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let found: BTreeSet<&str> =
        versions.iter().filter(|(_, all)| all.len() > 1).map(|(name, _)| *name).collect();
    let new: Vec<_> = found.difference(&allowed).collect();
    let gone: Vec<_> = allowed.difference(&found).filter(|name| !name.starts_with('#')).collect();
    assert!(
        new.is_empty(),
        "more than one version of {new:?}: unify, or say why in docs/duplicates.txt"
    );
    assert!(gone.is_empty(), "docs/duplicates.txt lists {gone:?}, which come in one version now");
}

/// `cargo run -- demo`, with which the README begins, runs stead: the other programs are asked for by name.
#[test]
fn cargo_run_runs_stead() {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec().unwrap();
    let packages = metadata.workspace_default_packages();
    let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["stead"]);
    let programs = packages[0].targets.iter().filter(|target| target.is_bin()).count();
    assert_eq!(programs, 1);
}

fn workspace() -> Tree {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec().unwrap();
    let names: BTreeSet<String> =
        metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let mut tree = Tree::new();
    for package in &metadata.packages {
        let mut one = Crate::default();
        for dependency in &package.dependencies {
            let list = match (dependency.kind, names.contains(&dependency.name)) {
                (DependencyKind::Development, true) => &mut one.tests,
                (DependencyKind::Development, false) => continue,
                (_, true) => &mut one.inside,
                (_, false) => &mut one.outside,
            };
            list.insert(dependency.name.clone());
        }
        let folder = package.manifest_path.parent().unwrap().as_std_path().to_owned();
        collect(&folder, &mut one.sources);
        tree.insert(package.name.to_string(), one);
    }
    tree
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}
