//! The second judge: what every plan for a set promises, stated apart from the code that keeps it.
//!
//! It shares the view's types with the planner and none of its functions, so that a mistake would
//! have to be made twice. Debug builds ask it about every plan; tests run it over all small views.

mod case;
mod law;
mod policies;

use std::{collections::BTreeSet, sync::Arc};

use api::k8s::{
    api::core::v1::{PersistentVolumeClaim, Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use self::case::{Case, Seen, controller, ordinal, revision, said};
use super::View;
use crate::{Plan, Verb, Wait};

/// A promise that every plan keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    /// At most one pod of a name: none is created under a name that is taken or not wanted.
    OnePodPerName,
    /// OrderedReady creates a pod only when all lower ones are available.
    Ascending,
    /// Pods that are not wanted go from the highest down, after the wanted ones are well.
    Descending,
    /// At most one pod is created or deleted by one plan under OrderedReady, the budget aside.
    OneChange,
    /// A rollout takes no more available pods than the budget leaves, the highest first.
    Budget,
    /// Pods below the partition keep their revision, and get it back.
    Partition,
    /// No claim is deleted, and none gets an owner that the policy does not name.
    ClaimsKept,
    /// A pod is created after all of its claims.
    ClaimsFirst,
    /// What is changed or deleted is the set's, was seen, and is deleted once.
    SeenUid,
    /// Nothing is created or deleted for a set that is being deleted.
    NothingWhileDeleting,
    /// A plan waits for nothing that cannot happen.
    PossibleWaits,
    /// Where something is amiss, the plan does something or says what it waits for.
    SaysWhy,
    /// Nothing is written where nothing is amiss.
    ConvergedRests,
    /// The status counts what is there, and keeps the conditions of others.
    StatusBounds,
    /// The set's conditions say what its pods are, and name the one that is not well.
    Conditions,
    /// A paused rollout replaces no pod.
    Paused,
    /// A broken pod of an old revision goes at once where the policy says so.
    BrokenGo,
    /// A template comes back only after its deadline, and it is the one on record.
    Returns,
    /// A policy is told that it is in force when it is.
    Accepted,
    /// Actions stand in the order of their groups, and a plan is bounded.
    Orderly,
}

/// The conditions that are the controller's own.
const OWN_CONDITIONS: [&str; 3] = ["Available", "Progressing", "ReplicaFailure"];

/// Pods created and deleted by one plan at the most.
const MOVES_MAX: usize = 500;

/// The promises that this plan breaks.
pub(super) fn broken_promises(view: &View, plan: &Plan) -> Vec<Promise> {
    let case = Case::new(view, plan);
    let checks: [(Promise, bool); 20] = [
        (Promise::OnePodPerName, case.one_pod_per_name()),
        (Promise::Ascending, case.ascending()),
        (Promise::Descending, case.descending()),
        (Promise::OneChange, case.one_change()),
        (Promise::Budget, case.within_budget()),
        (Promise::Partition, case.partition_respected()),
        (Promise::ClaimsKept, case.claims_kept()),
        (Promise::ClaimsFirst, case.claims_first()),
        (Promise::SeenUid, case.seen_uid()),
        (Promise::NothingWhileDeleting, case.nothing_while_deleting()),
        (Promise::PossibleWaits, case.possible_waits()),
        (Promise::SaysWhy, case.says_why()),
        (Promise::ConvergedRests, case.converged_rests()),
        (Promise::StatusBounds, case.status_bounds()),
        (Promise::Conditions, case.conditions_tell()),
        (Promise::Paused, case.paused_rests()),
        (Promise::BrokenGo, case.broken_go()),
        (Promise::Returns, case.returns_rightly()),
        (Promise::Accepted, case.acceptance_is_told()),
        (Promise::Orderly, case.orderly()),
    ];
    checks.into_iter().filter(|(_, kept)| !kept).map(|(promise, _)| promise).collect()
}

impl Case<'_> {
    fn one_pod_per_name(&self) -> bool {
        let mut names = BTreeSet::new();
        self.created.iter().all(|(ordinal, pod)| {
            let name = pod.metadata.name.as_deref();
            let taken = self.view.pods.iter().any(|other| other.metadata.name.as_deref() == name);
            self.wanted.binary_search(ordinal).is_ok() && !taken && names.insert(name)
        })
    }

    fn ascending(&self) -> bool {
        let pace = self.law.pace(self.wanted.len());
        if !self.ordered && pace.is_none() {
            return true;
        }
        let below = |ordinal: i64| self.wanted.iter().take_while(move |lower| **lower < ordinal);
        let down = |ordinal: i64| below(ordinal).filter(|lower| !self.up(**lower)).count();
        let due = |ordinal: i64| down(ordinal) < pace.unwrap_or(1) || self.together();
        // Taking away one that has ended, or never starts, is the first half of making it anew.
        let mut ended = self.deleted.iter().map(|(ordinal, _)| *ordinal).filter(|ordinal| {
            let seen = self.replicas.get(ordinal);
            seen.is_some_and(|seen| seen.ended || seen.stranded) && !self.hopeless(*ordinal)
        });
        self.created.iter().all(|(ordinal, _)| due(*ordinal)) && (!self.ordered || ended.all(due))
    }

    fn descending(&self) -> bool {
        let going: BTreeSet<i64> = self.deleted.iter().map(|(ordinal, _)| *ordinal).collect();
        let pace = self.law.pace(self.wanted.len());
        let moving = self.surplus.iter().filter(|(o, pod)| pod.going || going.contains(o)).count();
        let order = |ordinal: &i64| {
            let higher = self.surplus.range(ordinal + 1..);
            let mut staying = higher.clone().filter(|(o, pod)| !pod.going && !going.contains(o));
            let paced = match self.ordered {
                true => higher.count() < pace.unwrap_or(1) && self.all_up(),
                false => moving <= pace.unwrap_or(usize::MAX),
            };
            staying.next().is_none() && paced
        };
        let full = self.deleted.len() + self.created.len() >= MOVES_MAX;
        let surplus = going.iter().filter(|ordinal| self.surplus.contains_key(ordinal));
        // A rollout under OrderedReady starts when no pod is left that is not wanted.
        let rolls = self.regular().next().is_some();
        let shrunk = !self.ordered || !rolls || self.surplus.is_empty();
        shrunk && surplus.into_iter().all(|ordinal| full || order(ordinal))
    }

    /// Pods that the rollout takes, those aside that are hopeless.
    fn regular(&self) -> impl Iterator<Item = (i64, Seen<'_>)> + '_ {
        self.rolled().filter(|(ordinal, _)| !self.hopeless(*ordinal))
    }

    fn one_change(&self) -> bool {
        if !self.ordered {
            return true;
        }
        let hopeless = self.deleted.iter().filter(|(ordinal, _)| self.hopeless(*ordinal)).count();
        let moves = self.created.len() + self.deleted.len() - hopeless;
        let pace = self.law.pace(self.wanted.len()).unwrap_or(1);
        let budget = || self.created.is_empty() || self.together();
        moves <= pace || moves <= self.budget() && budget()
    }

    fn within_budget(&self) -> bool {
        let lost = self.rolled().filter(|(_, pod)| pod.available).count();
        let up = self.replicas.keys().filter(|ordinal| self.up(**ordinal)).count();
        let down = self.wanted.len() - up;
        if self.many() {
            return lost == 0 || down + lost <= self.budget();
        }
        // One at a time, each after all above it are well and new.
        let above = |ordinal: i64| {
            let ended = |o: i64| self.deleted.iter().any(|(gone, _)| *gone == o);
            let mut higher = self.wanted.iter().copied().filter(|higher| *higher > ordinal);
            higher.all(|o| self.up(o) && self.updated(o) && !ended(o))
        };
        self.regular().count() <= 1 && self.regular().all(|(ordinal, _)| above(ordinal))
    }

    fn partition_respected(&self) -> bool {
        let deletions = self
            .rolled()
            .all(|(ordinal, _)| self.rolling && ordinal >= self.first && !self.updated(ordinal));
        let update = self.named(|status| status.update_revision.as_deref());
        let kept = self.set.status.as_ref().and_then(|status| status.current_revision.as_deref());
        let kept = kept.filter(|name| {
            self.view.revisions.iter().any(|one| one.metadata.name.as_deref() == Some(name))
        });
        let creations = self.created.iter().all(|(ordinal, pod)| {
            let got = revision(pod);
            match ordinal < &self.first && self.rolling {
                true => got == kept.unwrap_or(update),
                false => {
                    let kept = Some(got) == kept;
                    let all = self.wanted.first() == Some(&self.first);
                    got == update || kept && (all || self.law.paused)
                }
            }
        });
        deletions && creations
    }

    fn claims_kept(&self) -> bool {
        let spec = self.set.spec.as_ref();
        let policy = spec.and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
        let deletes = |says: Option<&String>| says.is_some_and(|says| says == "Delete");
        let with_set = deletes(policy.and_then(|policy| policy.when_deleted.as_ref()));
        let with_pod = deletes(policy.and_then(|policy| policy.when_scaled.as_ref()));
        let allowed = |owner: &OwnerReference| match owner.kind.as_str() {
            "StatefulSet" => with_set && Some(&owner.uid) == self.set.metadata.uid.as_ref(),
            "Pod" => {
                let named = |seen: &Seen<'_>| seen.pod.metadata.uid.as_ref() == Some(&owner.uid);
                with_pod && self.surplus.values().any(named)
            }
            _ => false,
        };
        self.plan.actions.iter().all(|action| match &action.verb {
            Verb::Delete { target, .. } => {
                target.kind != "PersistentVolumeClaim" || self.claim_given_up(&target.name)
            }
            Verb::Create(object) => match object.as_any().downcast_ref::<PersistentVolumeClaim>() {
                Some(claim) => claim.metadata.owner_references.iter().flatten().all(allowed),
                None => true,
            },
            Verb::Update { object, .. } => {
                let claim = object.as_any().downcast_ref::<PersistentVolumeClaim>();
                claim.is_none_or(|claim| self.owners_only(claim, &allowed))
            }
            _ => true,
        })
    }

    /// A claim of a reserved ordinal that has no pod, where the policy lets those go.
    fn claim_given_up(&self, claim: &str) -> bool {
        let set = self.set.metadata.name.as_deref().unwrap_or_default();
        let mut named =
            self.set.spec.iter().flat_map(|s| s.volume_claim_templates.iter().flatten());
        let ordinal = claim.rsplit_once('-').and_then(|(_, digits)| digits.parse::<i64>().ok());
        let Some(ordinal) = ordinal else { return false };
        let pod = format!("{set}-{ordinal}");
        let own = named.any(|template| {
            let template = template.metadata.name.as_deref().unwrap_or_default();
            claim == format!("{template}-{pod}")
        });
        let held = self.view.pods.iter().any(|one| one.metadata.name.as_ref() == Some(&pod));
        self.law.drops_claims && self.law.reserves(ordinal) && own && !held
    }

    /// Nothing but owners changes; what is added is allowed, what is taken off was the set's own.
    fn owners_only(
        &self,
        claim: &PersistentVolumeClaim,
        allowed: &dyn Fn(&OwnerReference) -> bool,
    ) -> bool {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let Some(old) = self.view.claims.get(name) else { return false };
        let mut same = (**old).clone();
        same.metadata.owner_references.clone_from(&claim.metadata.owner_references);
        let (before, after) = (&old.metadata.owner_references, &claim.metadata.owner_references);
        let mut added =
            after.iter().flatten().filter(|one| !before.iter().flatten().any(|b| b == *one));
        let foreign = |owner: &&OwnerReference| {
            let pods = self.replicas.values().chain(self.surplus.values());
            let mut uids = pods.map(|seen| &seen.pod.metadata.uid).chain([&self.set.metadata.uid]);
            !uids.any(|uid| uid.as_ref() == Some(&owner.uid))
        };
        let kept = before
            .iter()
            .flatten()
            .filter(foreign)
            .all(|owner| after.iter().flatten().any(|other| other == owner));
        same == *claim && added.all(allowed) && kept
    }

    fn claims_first(&self) -> bool {
        let group_of = |name: &str, kind: &str| {
            self.plan.actions.iter().find_map(|action| match &action.verb {
                Verb::Create(object) => (object.kind() == kind
                    && object.meta().name.as_deref() == Some(name))
                .then_some(action.group),
                _ => None,
            })
        };
        let templates =
            self.set.spec.iter().flat_map(|s| s.volume_claim_templates.iter().flatten());
        let templates: Vec<&str> = templates.filter_map(|t| t.metadata.name.as_deref()).collect();
        self.created.iter().all(|(_, pod)| {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let born = group_of(name, "Pod");
            templates.iter().all(|template| {
                let claim = format!("{template}-{name}");
                match self.view.claims.get(&claim) {
                    Some(there) => there.metadata.deletion_timestamp.is_none(),
                    None => {
                        group_of(&claim, "PersistentVolumeClaim").is_some_and(|g| Some(g) < born)
                    }
                }
            })
        })
    }

    fn seen_uid(&self) -> bool {
        let mut once = BTreeSet::new();
        let pods = self.deleted.iter().all(|(ordinal, target)| {
            let seen = self.replicas.get(ordinal).or_else(|| self.surplus.get(ordinal));
            let same = seen.is_some_and(|seen| {
                !seen.going && seen.pod.metadata.uid.as_deref() == Some(&target.uid)
            });
            same && !target.uid.is_empty() && once.insert(&target.uid)
        });
        let updates = self.plan.actions.iter().all(|action| match &action.verb {
            Verb::Update { object, .. } => {
                object.meta().uid.is_some() && object.meta().resource_version.is_some()
            }
            _ => true,
        });
        pods && updates
    }

    fn nothing_while_deleting(&self) -> bool {
        let status = |verb: &Verb| matches!(verb, Verb::Update { subresource: Some("status"), .. });
        self.set.metadata.deletion_timestamp.is_none()
            || self.plan.actions.iter().all(|action| status(&action.verb))
    }

    fn possible_waits(&self) -> bool {
        let full = self.deleted.len() + self.created.len() >= MOVES_MAX;
        self.plan.waits.iter().all(|wait| match wait {
            Wait::Healthy(name) => {
                let ordinal = ordinal(self.set, Some(name)).unwrap_or(-1);
                let known = self.replicas.get(&ordinal).or_else(|| self.surplus.get(&ordinal));
                let born = self.created.iter().any(|(created, _)| *created == ordinal);
                let comes =
                    |pod: &Seen<'_>| !pod.ended && !pod.stranded && !pod.going && !pod.available;
                full || born || known.is_some_and(comes)
            }
            Wait::Gone(name) => {
                let named = |pod: &&Arc<Pod>| pod.metadata.name.as_ref() == Some(name);
                let leaves = |pod: &Pod| {
                    let foreign = controller(pod.metadata.owner_references.as_deref())
                        != self.set.metadata.uid.as_deref();
                    let deleted = self.deleted.iter().any(|(_, target)| target.name == *name);
                    pod.metadata.deletion_timestamp.is_some() || deleted || foreign
                };
                self.view.pods.iter().find(named).is_some_and(|pod| leaves(pod))
            }
            Wait::ClaimGone(name) => self.view.claims.get(name).is_some_and(|claim| {
                let mut owners = claim.metadata.owner_references.iter().flatten();
                let stale = |owner: &OwnerReference| {
                    let pods = self.replicas.values().chain(self.surplus.values());
                    let mut uids = pods.map(|seen| seen.pod.metadata.uid.as_ref());
                    owner.kind == "Pod" && !uids.any(|uid| uid == Some(&owner.uid))
                };
                claim.metadata.deletion_timestamp.is_some() || owners.any(stale)
            }),
            Wait::Resumed(name) => {
                let own = self.law.policy.and_then(|policy| policy.metadata.name.as_ref());
                self.law.paused && own == Some(name)
            }
            Wait::Bound(_) | Wait::Fresh(_) => true,
        })
    }

    fn says_why(&self) -> bool {
        let acts = !self.created.is_empty() || !self.deleted.is_empty() || self.returned.is_some();
        let waits = !self.plan.waits.is_empty();
        let deleting = self.set.metadata.deletion_timestamp.is_some();
        deleting || acts || waits || self.all_up() && self.surplus.is_empty() && !self.outdated()
    }

    /// Judged where no claim is in play, for what is amiss with those is another question.
    fn converged_rests(&self) -> bool {
        let Some(status) = &self.set.status else { return true };
        let plain = self.set.spec.as_ref().is_some_and(|s| s.volume_claim_templates.is_none());
        let wanted = i32::try_from(self.wanted.len()).ok();
        let full = |count: Option<i32>| count.is_some() && count == wanted;
        let told = status.observed_generation == self.set.metadata.generation
            && full(Some(status.replicas))
            && full(status.ready_replicas)
            && full(status.available_replicas)
            && full(status.updated_replicas)
            && full(status.current_replicas)
            && status.current_revision == status.update_revision
            && status.update_revision.as_ref().is_some_and(|name| !name.is_empty())
            && said(status, "Available").is_some_and(|one| one.status == "True")
            && said(status, "ReplicaFailure").is_none()
            && said(status, "Progressing").and_then(|one| one.reason.as_deref())
                == Some("Complete");
        let labels = |(ordinal, seen): (&i64, &Seen<'_>)| {
            let labels = seen.pod.metadata.labels.as_ref();
            let index = labels.and_then(|all| all.get("apps.kubernetes.io/pod-index"));
            index == Some(&ordinal.to_string())
                && Some(revision(seen.pod)) == status.update_revision.as_deref()
        };
        let owned = |pod: &Arc<Pod>| controller(pod.metadata.owner_references.as_deref()).is_some();
        let amiss = !plain
            || !told
            || !self.all_up()
            || !self.policies_told(status.update_revision.as_deref())
            || !self.surplus.is_empty()
            || !self.replicas.iter().all(labels)
            || !self.view.pods.iter().all(owned)
            || self.view.revisions.len() != 1
            || self.view.revisions[0].metadata.name != status.update_revision
            // Another template makes another revision.
            || self.named(|status| status.update_revision.as_deref())
                != status.update_revision.as_deref().unwrap_or_default();
        amiss || self.plan.actions.is_empty() && self.plan.waits.is_empty()
    }

    fn status_bounds(&self) -> bool {
        let Some(status) = self.status else { return true };
        let old = self.set.status.clone().unwrap_or_default();
        let pods = i32::try_from(self.replicas.len() + self.surplus.len()).unwrap_or(i32::MAX);
        let within = |count: Option<i32>, most: i32| count.is_some_and(|n| (0..=most).contains(&n));
        let conditions = old
            .conditions
            .iter()
            .flatten()
            .filter(|one| !OWN_CONDITIONS.contains(&one.type_.as_str()))
            .all(|one| status.conditions.iter().flatten().any(|kept| kept == one));
        within(Some(status.replicas), pods)
            && within(status.ready_replicas, status.replicas)
            && within(status.available_replicas, status.ready_replicas.unwrap_or(0))
            && within(status.current_replicas, status.replicas)
            && within(status.updated_replicas, status.replicas)
            && status.observed_generation >= old.observed_generation
            && conditions
    }

    fn conditions_tell(&self) -> bool {
        let old = self.set.status.as_ref();
        let known = old.filter(|old| said(old, "Available").is_some());
        let Some(status) = self.status.or(known) else { return true };
        if self.set.metadata.deletion_timestamp.is_some() || self.returned.is_some() {
            return true;
        }
        let (Some(available), Some(_)) = (said(status, "Available"), said(status, "Progressing"))
        else {
            return false;
        };
        let set = self.set.metadata.name.as_deref().unwrap_or_default();
        let message = available.message.as_deref().unwrap_or_default();
        let names = |ordinal: i64| {
            let name = format!("pod {set}-{ordinal} ");
            message.contains(&name)
        };
        let honest = match self.all_up() {
            true => available.status == "True",
            false => {
                let mut down = self.wanted.iter().filter(|ordinal| !self.up(**ordinal));
                available.status == "False" && down.any(|ordinal| names(*ordinal))
            }
        };
        let steady = OWN_CONDITIONS.iter().all(|kind| {
            let before = old.and_then(|old| said(old, kind));
            match (before, said(status, kind)) {
                (Some(before), Some(now)) if before.status == now.status => {
                    before.last_transition_time == now.last_transition_time
                }
                (_, Some(now)) => now.last_transition_time.is_some(),
                (_, None) => *kind == "ReplicaFailure",
            }
        });
        honest && steady
    }

    fn orderly(&self) -> bool {
        let budget = self.created.len() + self.deleted.len() <= MOVES_MAX;
        budget && self.plan.actions.is_sorted_by_key(|action| action.group)
    }
}
