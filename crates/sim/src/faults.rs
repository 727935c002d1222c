//! What can go wrong with a request, a watch, and the world; and the table of what went wrong when.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What a request is for: a column of the first table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    CreatePod,
    DeletePod,
    CreateClaim,
    CreateRevision,
    SetStatus,
    Bind,
    BindClaim,
    PodStatus,
    EndPod,
    Slice,
    Lease,
    Event,
    List,
    /// Anything else: not a column.
    Other,
}

/// The columns, with their heads.
pub(crate) const ACTS: [(Act, &str); 13] = [
    (Act::CreatePod, "pod+"),
    (Act::DeletePod, "pod-"),
    (Act::CreateClaim, "claim+"),
    (Act::CreateRevision, "rev+"),
    (Act::SetStatus, "set.st"),
    (Act::Bind, "bind"),
    (Act::BindClaim, "volume"),
    (Act::PodStatus, "pod.st"),
    (Act::EndPod, "pod--"),
    (Act::Slice, "slice"),
    (Act::Lease, "lease"),
    (Act::Event, "event"),
    (Act::List, "list"),
];

/// What happens to a request: a row of the first table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// It never arrives.
    Lost,
    /// It is carried out; the answer never arrives.
    AnswerLost,
    /// It arrives seconds later.
    Late,
    /// It arrives twice.
    Twice,
    /// The disk is full while it is carried out.
    DiskFull,
    /// The disk fails while it is carried out.
    DiskFails,
    /// Whoever asks dies before it is sent.
    CallerDiesBefore,
    /// Whoever asks dies after it was carried out.
    CallerDiesAfter,
    /// The API server dies after it was carried out.
    ServerDies,
}

/// The rows, with their heads.
pub(crate) const WRONGS: [(Wrong, &str); 9] = [
    (Wrong::Lost, "request lost"),
    (Wrong::AnswerLost, "answer lost"),
    (Wrong::Late, "request late"),
    (Wrong::Twice, "request twice"),
    (Wrong::DiskFull, "disk full"),
    (Wrong::DiskFails, "disk fails"),
    (Wrong::CallerDiesBefore, "caller dies before"),
    (Wrong::CallerDiesAfter, "caller dies after"),
    (Wrong::ServerDies, "server dies after"),
];

/// What happens to a watch: a row of the second table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It breaks in the middle of an event.
    Cut,
    /// It ends with 410.
    Expired,
    /// It shows nothing for a while: whoever reads it is behind.
    Stalled,
    /// It shows an event twice.
    Twice,
}

pub(crate) const FATES: [(Fate, &str); 4] = [
    (Fate::Cut, "watch cut"),
    (Fate::Expired, "watch 410"),
    (Fate::Stalled, "watch stalled"),
    (Fate::Twice, "event twice"),
];

/// Watched kinds: columns of the second table.
pub(crate) const WATCHED: [&str; 8] = [
    "pods",
    "statefulsets",
    "persistentvolumeclaims",
    "persistentvolumes",
    "controllerrevisions",
    "nodes",
    "endpointslices",
    "services",
];

/// What happens to the world: the third table.
pub(crate) const WORLD: [&str; 25] = [
    "manager dies",
    "server dies",
    "agent dies",
    "node cut off",
    "node without power",
    "clock of the control plane jumps",
    "clock of a node jumps",
    "slow start",
    "start fails",
    "container exits",
    "probe fails",
    "slow stop",
    "slow pull",
    "person scales",
    "person changes template",
    "person changes template for the worse",
    "person mends template",
    "person moves partition",
    "person deletes pod",
    "person deletes pod by force",
    "person deletes set in the foreground",
    "person orphans and adopts",
    "person edits labels",
    "person deletes claim",
    "person makes set again",
];

/// What happens where sets say more than plain ones: more rows of the third table.
pub(crate) const MORE: [&str; 5] = [
    "person moves start",
    "person changes retention",
    "person edits policy",
    "person pauses",
    "person reserves ordinals",
];

/// How often each has happened.
#[derive(Debug, Default)]
pub struct Tally {
    requests: Mutex<BTreeMap<(Wrong, Act), u64>>,
    watches: Mutex<BTreeMap<(Fate, &'static str), u64>>,
    world: Mutex<BTreeMap<&'static str, u64>>,
}

fn with<T, R>(one: &Mutex<T>, work: impl FnOnce(&mut T) -> R) -> R {
    work(&mut one.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Tally {
    pub(crate) fn request(&self, wrong: Wrong, act: Act) {
        with(&self.requests, |all| *all.entry((wrong, act)).or_default() += 1);
    }

    pub(crate) fn watch(&self, fate: Fate, kind: &'static str) {
        with(&self.watches, |all| *all.entry((fate, kind)).or_default() += 1);
    }

    pub(crate) fn world(&self, what: &'static str) {
        debug_assert!(WORLD.iter().chain(&MORE).any(|row| *row == what), "{what} is no row");
        with(&self.world, |all| *all.entry(what).or_default() += 1);
    }

    /// Adds another's counts to these.
    pub fn add(&self, other: &Tally) {
        with(&other.requests, |from| {
            with(&self.requests, |to| {
                from.iter().for_each(|(k, n)| *to.entry(*k).or_default() += n)
            });
        });
        with(&other.watches, |from| {
            with(&self.watches, |to| {
                from.iter().for_each(|(k, n)| *to.entry(*k).or_default() += n)
            });
        });
        with(&other.world, |from| {
            with(&self.world, |to| from.iter().for_each(|(k, n)| *to.entry(*k).or_default() += n));
        });
    }

    /// The three tables.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut row = |head: &str, cells: Vec<String>| {
            let cells: String = cells.iter().map(|cell| format!("{cell:>8}")).collect();
            text.push_str(&format!("{head:<22}{cells}\n"));
        };
        row("fault by action", ACTS.iter().map(|(_, head)| (*head).to_owned()).collect());
        with(&self.requests, |all| {
            for (wrong, head) in WRONGS {
                let count = |act| all.get(&(wrong, act)).copied().unwrap_or(0).to_string();
                row(head, ACTS.iter().map(|(act, _)| count(*act)).collect());
            }
        });
        row("fault by watch", WATCHED.iter().map(|kind| short(kind)).collect());
        with(&self.watches, |all| {
            for (fate, head) in FATES {
                let count = |kind| all.get(&(fate, kind)).copied().unwrap_or(0).to_string();
                row(head, WATCHED.iter().map(|kind| count(*kind)).collect());
            }
        });
        with(&self.world, |all| {
            for what in
                WORLD.into_iter().chain(MORE.into_iter().filter(|what| all.contains_key(what)))
            {
                let count = all.get(what).copied().unwrap_or(0);
                text.push_str(&format!("{what:<42}{count:>8}\n"));
            }
        });
        text
    }

    /// Cells that are still zero; `more` as in [`crate::Script::more`].
    #[must_use]
    pub fn empty_cells(&self, more: bool) -> Vec<String> {
        let mut empty = Vec::new();
        with(&self.requests, |all| {
            for (wrong, row) in WRONGS {
                for (act, column) in ACTS {
                    if !all.contains_key(&(wrong, act)) {
                        empty.push(format!("{row} × {column}"));
                    }
                }
            }
        });
        with(&self.watches, |all| {
            for (fate, row) in FATES {
                for kind in WATCHED {
                    if !all.contains_key(&(fate, kind)) {
                        empty.push(format!("{row} × {kind}"));
                    }
                }
            }
        });
        with(&self.world, |all| {
            empty.extend(
                WORLD
                    .iter()
                    .chain(MORE.iter().filter(|_| more))
                    .filter(|what| !all.contains_key(*what))
                    .map(|w| (*w).to_owned()),
            );
        });
        empty
    }
}

fn short(kind: &str) -> String {
    kind.chars().take(7).collect()
}
