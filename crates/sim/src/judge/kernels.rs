//! What the kernels ran: at most one pod a name, its own data, and no end without a reason.

use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Pod, Violation};
use crate::trace::{Did, Entry, What};

#[derive(Default)]
struct Kernels {
    /// Running containers, by pod name and uid.
    running: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Pods that may run beside another by a person's word.
    forced: BTreeSet<String>,
    /// Whose data a folder holds.
    folders: BTreeMap<String, String>,
    /// Pods as the API has them, by uid.
    pods: BTreeMap<String, Pod>,
    violations: Vec<Violation>,
}

pub(super) fn judge(entries: &[Entry]) -> Vec<Violation> {
    let mut kernels = Kernels::default();
    for Entry { at_ms, what } in entries {
        match what {
            What::Kernel { node, namespace, name, uid, did } => {
                let name = format!("{namespace}/{name}");
                kernels.did(*at_ms, node, &name, uid, did);
            }
            What::Forced { uid } => {
                kernels.forced.insert(uid.clone());
            }
            What::Commit { key, value, deleted, .. } if key.contains("/pods/") => {
                let pod: Pod = serde_json::from_slice(value).unwrap_or_default();
                let uid = pod.metadata.uid.clone();
                if *deleted {
                    kernels.pods.remove(&uid);
                } else {
                    kernels.pods.insert(uid, pod);
                }
            }
            _ => {}
        }
    }
    kernels.violations
}

impl Kernels {
    fn did(&mut self, at_ms: u64, node: &str, name: &str, uid: &str, did: &Did) {
        let mut violated = |invariant, what: String| {
            self.violations.push(Violation { invariant, at_ms, what });
        };
        match did {
            Did::Started { id, folders, .. } => {
                let all = self.running.entry(name.to_owned()).or_default();
                let others = all.iter().filter(|(other, running)| {
                    *other != uid && !running.is_empty() && !self.forced.contains(*other)
                });
                if let Some((other, _)) = others.into_iter().next()
                    && !self.forced.contains(uid)
                {
                    let what = format!("{name} starts as {uid} on {node} while {other} runs");
                    violated(Invariant::AtMostOne, what);
                }
                all.entry(uid.to_owned()).or_default().insert(id.clone());
                for folder in folders {
                    let owner =
                        self.folders.entry(folder.clone()).or_insert_with(|| name.to_owned());
                    if owner != name {
                        let what = format!("{name} runs on {folder}, the data of {owner}");
                        violated(Invariant::ClaimsOwned, what);
                    }
                }
            }
            Did::Ended { id, .. } => {
                if let Some(running) = self.running.get_mut(name).and_then(|all| all.get_mut(uid)) {
                    running.remove(id);
                }
            }
            Did::Stopping { .. } => {
                let pod = self.pods.get(uid);
                if pod.is_some_and(|pod| !pod.metadata.is_terminating() && !pod.is_finished()) {
                    let what = format!("{name} ({uid}) is stopped on {node}, though it shall run");
                    violated(Invariant::PodsOutlive, what);
                }
            }
            Did::Other(_) => {}
        }
    }
}
