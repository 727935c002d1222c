//! `stead demo`, as someone who has just built it runs it; and stopped half-way.

#![expect(clippy::disallowed_methods, reason = "a person's view is made of programs")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use cli::Instance;

use crate::cluster::{Turn, binary};

/// Parts of lines, in their order; any others may stand between.
const TOLD: &[&str] = &[
    "An image, made from this very binary",
    "stead.local/pet:v1 holds `stead pet`",
    "A cluster of its own",
    "answers on https://127.0.0.1:",
    "node      is Ready",
    "A StatefulSet of three",
    "web-1     waits for web-0",
    "web-0     is made",
    "web-0     is Ready at 198.1",
    "web-1     is made",
    "web-1     is Ready at 198.1",
    "web-2     is made",
    "web-2     is Ready at 198.1",
    "Names in the cluster's DNS",
    "web-0     web-0.pets.default.svc.cluster.local is 198.1",
    "web-2     web-2.pets.default.svc.cluster.local is 198.1",
    "A line of text for each",
    "web-2     keeps \"a line that only web-2 was given\"",
    "web-1 is deleted, and comes back",
    "web-1     is gone",
    "web-1     is Ready",
    "has a new uid, the same name, the same text",
    "Down to one",
    "web-2     is gone",
    "web-1     is asked to end",
    "web-1     is gone",
    "the claims of web-1 and web-2 stay",
    "Up to three again",
    "each pod has its volume and its text again",
    "An update from the top",
    "web-2     is asked to end",
    "web-2     is Ready",
    "web-1     is asked to end",
    "web-1     is Ready",
    "web-0     is asked to end",
    "web-0     is Ready",
    "in the order 2, 1, 0",
    "finds its peers by DNS",
    "Everything removed",
    "its pods, network, mounts and folder are gone",
    "An image ",
    "A StatefulSet of three ",
    "Everything removed ",
    "Total ",
];

fn start() -> Child {
    Command::new(binary())
        .args(["demo", "--plain"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The cluster that the demo of this process makes.
fn instance(pid: u32) -> Instance {
    let folder = std::env::temp_dir().join(format!("stead-demo-{pid}"));
    Instance { name: format!("demo-{pid}"), folder }
}

/// Whatever of a cluster is still on this machine.
fn left(instance: &Instance) -> Vec<String> {
    let tag = format!("stead-{}", instance.tag());
    let mut left = Vec::new();
    let places = [
        instance.folder.clone(),
        Path::new("/sys/class/net").join(&tag),
        Path::new("/run/stead").join(instance.tag()),
    ];
    left.extend(places.iter().filter(|place| place.exists()).map(|place| show(place)));
    left.extend(groups(Path::new("/sys/fs/cgroup"), &tag, 2).iter().map(|group| show(group)));
    let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
    let listings = [
        ("table", String::from_utf8_lossy(&tables.stdout).into_owned()),
        ("mount", fs::read_to_string("/proc/self/mountinfo").unwrap()),
        ("process", processes()),
    ];
    let folder = show(&instance.folder);
    for (what, text) in listings {
        let ours = text.lines().filter(|line| line.contains(&tag) || line.contains(&folder));
        left.extend(ours.map(|line| format!("{what} {line}")));
    }
    left
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Control groups of this name, in every hierarchy.
fn groups(folder: &Path, name: &str, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy() == name {
            found.push(entry.path());
        } else if depth > 1 && entry.path().is_dir() {
            found.extend(groups(&entry.path(), name, depth - 1));
        }
    }
    found
}

/// The command line of each process, with the program that it runs.
fn processes() -> String {
    let mut text = String::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        text += &format!("{} {line}\n", program.display());
    }
    text
}

#[test]
fn the_demo_shows_everything_and_leaves_nothing() {
    let _turn = Turn::take();
    let demo = start();
    let pid = demo.id();
    let output = demo.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}\n{printed}\n{said}", output.status);
    assert_eq!(said, "", "a demo that goes well has nothing to warn of");
    let mut lines = printed.lines();
    for part in TOLD {
        assert!(lines.any(|line| line.contains(part)), "no `{part}` in its place in:\n{printed}");
    }
    assert_eq!(left(&instance(pid)), Vec::<String>::new());
}

#[test]
fn a_demo_that_is_stopped_leaves_nothing() {
    let _turn = Turn::take();
    let mut demo = start();
    let instance = instance(demo.id());
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("web-1     is made")));
    host::daemon::ask_to_end(demo.id()).unwrap();
    let printed: Vec<_> = lines.map(Result::unwrap).collect();
    let mut said = String::new();
    demo.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = demo.wait().unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(1), "stead: stopped by SIGTERM\n"));
    assert!(printed.iter().any(|line| line.contains("folder are gone")), "{printed:?}");
    assert_eq!(left(&instance), Vec::<String>::new());
}
