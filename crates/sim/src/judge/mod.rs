//! The invariants, judged on the log of the store and on what the kernels ran.
//!
//! A controller sees the past: what it decides is right when it was right at some moment of the
//! last [`BEHIND_IN_STORM_MS`], or by what it wrote itself, which it always knows. So the storm's
//! delays break no invariant, and a wrong decision still does.

mod kernels;
mod seen;
mod sets;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

pub(crate) use seen::{Belief, Pod, PolicySpec, Set, Thing};

use crate::trace::{Answer, Entry, What};

/// How far behind a cache can be in a storm: a stalled watch, a late request, and a watch that
/// waits its longest before it is tried again, twice.
pub(crate) const BEHIND_IN_STORM_MS: u64 = 120_000;
/// And in clear weather, where nothing but the wire's own milliseconds passes.
pub(crate) const BEHIND_MS: u64 = 1_000;

/// What must hold, whatever happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// No two pods of one name run at the same time, but by a person's word.
    AtMostOne,
    /// In order, a pod is made when all before it have been healthy.
    OrderedCreation,
    /// In order, a pod that is not wanted goes when all after it are gone.
    DescendingDeletion,
    /// An update takes a pod down when the one that it took before has been healthy again.
    Budget,
    /// A pod below the partition is not taken down for an update.
    Partition,
    /// No pod is taken down for an update while its rollout is paused.
    Paused,
    /// No pod is made under an ordinal that is reserved.
    Reserved,
    /// Claims go by a person's word or their set's policy only.
    ClaimsKept,
    /// A claim and its folder belong to one pod's name.
    ClaimsOwned,
    /// A pod is what its revision says, and one template has one revision.
    RevisionTrue,
    /// A set's status was true a moment ago.
    StatusTrue,
    /// What was acknowledged is in the log, and the store holds what the log says.
    Acknowledged,
    /// A list shows everything that had been acknowledged.
    FreshLists,
    /// Nobody ends the containers of a pod that shall run.
    PodsOutlive,
    /// When nothing is done to the cluster any more, it becomes as its person wants it.
    Convergence,
    /// And then nothing is written any more.
    Quiet,
}

/// One invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Milliseconds of simulated time.
    pub at_ms: u64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ms: {}", self.invariant, self.at_ms, self.what)
    }
}

/// Everything that did not hold, in the order in which it happened, where caches are behind by
/// `behind_ms` at the most.
pub(crate) fn judge(entries: &[Entry], ground: u64, behind_ms: u64) -> Vec<Violation> {
    let mut violations = acknowledged(entries, ground);
    let actors = actors(entries);
    violations.extend(sets::judge(entries, &actors, behind_ms));
    violations.extend(kernels::judge(entries));
    violations.sort_by_key(|one| one.at_ms);
    violations
}

/// Who wrote a revision, where an answer tells.
fn actors(entries: &[Entry]) -> BTreeMap<u64, Arc<str>> {
    let answers = entries.iter().filter_map(|entry| match &entry.what {
        What::Answer(answer) if answer.method != "GET" && answer.code < 300 => {
            Some((answer.revision?, Arc::clone(&answer.who)))
        }
        _ => None,
    });
    let mut actors = BTreeMap::new();
    for (revision, who) in answers {
        // A write that changed nothing answers the version of an earlier one.
        actors.entry(revision).or_insert(who);
    }
    actors
}

/// What was acknowledged is there; lists are fresh; things came about in time.
fn acknowledged(entries: &[Entry], ground: u64) -> Vec<Violation> {
    let mut commits = BTreeSet::new();
    let mut violations = Vec::new();
    let mut violated = |invariant, at_ms, what: String| {
        violations.push(Violation { invariant, at_ms, what });
    };
    for Entry { at_ms, what } in entries {
        match what {
            What::Commit { revision, .. } => {
                commits.insert(*revision);
            }
            What::Answer(Answer { who, method, path, code: 200..300, revision, lists, known }) => {
                let Some(revision) = *revision else { continue };
                if *lists && revision < *known {
                    let what = format!("{who} {path} shows {revision}, {known} was known");
                    violated(Invariant::FreshLists, *at_ms, what);
                }
                if method != "GET" && revision > ground && !commits.contains(&revision) {
                    let what = format!("{who} {method} {path}: {revision} is not in the log");
                    violated(Invariant::Acknowledged, *at_ms, what);
                }
            }
            What::Damage(what) => violated(Invariant::Acknowledged, *at_ms, what.clone()),
            What::Late(what) => violated(Invariant::Convergence, *at_ms, what.clone()),
            _ => {}
        }
    }
    violations.extend(restless(entries));
    violations
}

/// After convergence nothing is written but leases, heartbeats and what people are told.
fn restless(entries: &[Entry]) -> Vec<Violation> {
    let after = entries.iter().skip_while(|entry| !matches!(entry.what, What::Converged));
    let mut violations = Vec::new();
    for Entry { at_ms, what } in after {
        if let What::Commit { key, revision, .. } = what
            && !["/leases/", "/nodes/", "/events/"].iter().any(|part| key.contains(part))
        {
            let (invariant, at_ms) = (Invariant::Quiet, *at_ms);
            let what = format!("{key} is written at {revision}, and nothing has changed");
            violations.push(Violation { invariant, at_ms, what });
        }
    }
    violations
}
