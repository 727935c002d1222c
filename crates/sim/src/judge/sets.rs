//! What the log says about sets: order, budget, partition, claims, revisions, status.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Belief, Invariant, Pod, PolicySpec, Set, Thing, Violation,
    seen::{Course, Policy},
};
use crate::trace::{Entry, What};

/// The controller whose decisions are judged.
const CONTROLLER: &str = "statefulset-controller";
/// Who deletes what has lost its owners.
const COLLECTOR: &str = "generic-garbage-collector";

/// One pod from its creation to its end.
struct Life {
    pod: Pod,
    /// Until when it was healthy; the latest moment where it still is.
    healthy_ms: Option<u64>,
    /// Since when it has been healthy without a break, while it is.
    well_since_ms: Option<u64>,
    gone_ms: Option<u64>,
    /// The set's controller asked for its end.
    taken: bool,
}

/// Pods and ready pods, with when there were so many.
type Counts = Vec<(u64, (i64, i64))>;

#[derive(Default)]
struct Sets<'a> {
    actors: Option<&'a BTreeMap<u64, Arc<str>>>,
    courses: BTreeMap<String, Course>,
    /// By name, one after another.
    pods: BTreeMap<String, Vec<Life>>,
    /// Pods and ready pods that each set has had, by its uid, with when it began.
    counts: BTreeMap<String, Counts>,
    /// Image of each revision, by name.
    images: BTreeMap<String, String>,
    /// Revision of each template, by owner's uid.
    templates: BTreeMap<(String, String), String>,
    /// Claims that nobody has deleted yet, with when they were made.
    claims: BTreeMap<String, u64>,
    /// Claims that are being deleted.
    going: BTreeSet<String>,
    violations: Vec<Violation>,
}

pub(super) fn judge(
    entries: &[Entry],
    actors: &BTreeMap<u64, Arc<str>>,
    behind_ms: u64,
) -> Vec<Violation> {
    let mut sets = Sets { actors: Some(actors), ..Sets::default() };
    for Entry { at_ms, what } in entries {
        let What::Commit { revision, key, value, deleted } = what else { continue };
        let mut parts = key.rsplit('/');
        let (name, _space, plural) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(plural)) = (name, plural) else { continue };
        let at = At { ms: *at_ms, revision: *revision, behind_ms };
        match plural {
            "pods" => {
                sets.pod(at, name, serde_json::from_slice(value).unwrap_or_default(), *deleted)
            }
            "statefulsets" => {
                sets.set(at, name, serde_json::from_slice(value).unwrap_or_default(), *deleted);
            }
            "controllerrevisions" if !deleted => {
                sets.revision(at, name, &serde_json::from_slice(value).unwrap_or_default());
            }
            "statefulsetpolicies" => {
                let policy: Policy = serde_json::from_slice(value).unwrap_or_default();
                let law = if *deleted { PolicySpec::default() } else { policy.spec.clone() };
                let set = policy.spec.stateful_set_name;
                sets.courses.entry(set).or_default().laws.push((at.ms, law));
            }
            "persistentvolumeclaims" => {
                sets.claim(at, name, &serde_json::from_slice(value).unwrap_or_default(), *deleted);
            }
            _ => {}
        }
    }
    sets.violations
}

#[derive(Clone, Copy)]
struct At {
    ms: u64,
    revision: u64,
    behind_ms: u64,
}

impl At {
    /// What a controller may still believe began no earlier.
    const fn since(self) -> u64 {
        self.ms.saturating_sub(self.behind_ms)
    }
}

impl Life {
    /// It was healthy at some moment that a controller may take for now.
    fn seemed_healthy(&self, at: At) -> bool {
        self.pod.is_healthy() || self.healthy_ms.is_some_and(|until| until >= at.since())
    }
}

impl Sets<'_> {
    fn violated(&mut self, at: At, invariant: Invariant, what: String) {
        self.violations.push(Violation { invariant, at_ms: at.ms, what });
    }

    fn actor(&self, at: At) -> &str {
        self.actors.and_then(|actors| actors.get(&at.revision)).map_or("", |who| who)
    }

    fn pod(&mut self, at: At, name: &str, pod: Pod, deleted: bool) {
        let lives = self.pods.entry(name.to_owned()).or_default();
        let known = lives.last().is_some_and(|life| {
            life.gone_ms.is_none() && life.pod.metadata.uid == pod.metadata.uid
        });
        if !known {
            self.born(at, name, &pod);
            let life = Life {
                pod: pod.clone(),
                healthy_ms: None,
                well_since_ms: None,
                gone_ms: None,
                taken: false,
            };
            self.pods.entry(name.to_owned()).or_default().push(life);
        }
        let marked = deleted || pod.metadata.is_terminating();
        let before = self.pods.get(name).and_then(|lives| lives.last());
        let was_marked = before.is_some_and(|life| life.pod.metadata.is_terminating());
        let took = marked && !was_marked && self.actor(at) == CONTROLLER;
        if took && let Some(before) = before.map(|life| life.pod.clone()) {
            self.taken(at, &before);
        }
        if let Some(life) = self.pods.get_mut(name).and_then(|lives| lives.last_mut()) {
            if life.pod.is_healthy() || pod.is_healthy() {
                life.healthy_ms = Some(at.ms);
            }
            let well_since = life.well_since_ms.unwrap_or(at.ms);
            life.well_since_ms = pod.is_healthy().then_some(well_since);
            life.pod = pod.clone();
            life.taken |= took;
            if deleted {
                life.gone_ms = Some(at.ms);
                life.pod.metadata.deletion_timestamp.get_or_insert_default();
            }
        }
        self.count(at, &pod);
    }

    /// How many pods the set has now.
    fn count(&mut self, at: At, pod: &Pod) {
        let Some((set, _)) = pod.place() else { return };
        let Some(course) = self.courses.get(set) else { return };
        let uids: BTreeSet<String> =
            course.states.iter().map(|(_, set)| set.metadata.uid.clone()).collect();
        let prefix = format!("{set}-");
        for uid in uids {
            let (mut all, mut ready) = (0, 0);
            let near = self.pods.range(prefix.clone()..);
            for (_, lives) in near.take_while(|(name, _)| name.starts_with(&prefix)) {
                let Some(life) = lives.last().filter(|life| life.gone_ms.is_none()) else {
                    continue;
                };
                if life.pod.metadata.set_uid() == Some(&uid) && !life.pod.status.phase.is_empty() {
                    all += 1;
                    ready += i64::from(life.pod.is_ready());
                }
            }
            self.counts.entry(uid).or_default().push((at.ms, (all, ready)));
        }
    }

    /// A pod of a set is made.
    fn born(&mut self, at: At, name: &str, pod: &Pod) {
        let Some((set, ordinal)) = pod.place() else { return };
        if pod.metadata.set_uid().is_none() {
            return;
        }
        for volume in &pod.spec.volumes {
            if let Some(claim) = &volume.persistent_volume_claim
                && claim.claim_name != format!("{}-{name}", volume.name)
            {
                let what = format!("{name} is made with the claim {}", claim.claim_name);
                self.violated(at, Invariant::ClaimsOwned, what);
            }
        }
        let said = pod.metadata.revision();
        let (image, is) = (self.images.get(said).map_or("", String::as_str), pod.image());
        if image != is {
            let what = format!("{name} is made of {said}, which is {image:?}, with {is:?}");
            self.violated(at, Invariant::RevisionTrue, what);
        }
        let Some(course) = self.courses.get(set) else { return };
        let believed = course.believed(at.since());
        if !believed.is_empty() && believed.iter().all(|one| one.law.reserves(ordinal)) {
            let what = format!("{name} is made, and its ordinal is reserved");
            self.violated(at, Invariant::Reserved, what);
            return;
        }
        let ordered = course.now().is_some_and(Set::is_ordered);
        if !ordered || believed.iter().any(|one| one.law.hastens()) {
            return;
        }
        let missing = |belief: &Belief<'_>| {
            let mut lower = belief.wanted().take_while(|lower| *lower < ordinal);
            lower.find_map(|lower| {
                let lives = self.pods.get(&format!("{set}-{lower}"));
                let why = match lives.and_then(|lives| lives.last()) {
                    None => "never was",
                    Some(life) if life.taken => "is being replaced",
                    Some(life) if !life.seemed_healthy(at) => "is not healthy",
                    Some(_) => return None,
                };
                Some(format!("{name} is made, and {set}-{lower} {why}"))
            })
        };
        let mut why = None;
        for belief in believed.iter().filter(|belief| belief.wants(ordinal)) {
            match missing(belief) {
                None => return, // It was right by what the controller may have seen.
                Some(what) => why = Some(what),
            }
        }
        if let Some(what) = why {
            self.violated(at, Invariant::OrderedCreation, what);
        }
    }

    /// The set's controller asks for a pod's end.
    fn taken(&mut self, at: At, pod: &Pod) {
        let Some((set, ordinal)) = pod.place() else { return };
        let Some(course) = self.courses.get(set) else { return };
        let Some(now) = course.now().cloned() else { return };
        if pod.is_finished()
            || pod.metadata.set_uid() != Some(&now.metadata.uid)
            || self.waits_for_claim(pod)
        {
            return;
        }
        let believed = course.believed(at.since());
        let always_wanted = believed.iter().all(|one| one.wants(ordinal));
        let may_be_unwanted = !always_wanted;
        let revision = pod.metadata.revision();
        let of_today = believed.iter().all(|one| one.set.status.update_revision == revision);
        let held = believed.iter().all(|one| one.holds(ordinal));
        let paused = believed.iter().all(|one| one.law.paused);
        let paced = believed.iter().any(|one| one.law.scaling.max_unavailable.is_some());
        let rolls = believed.iter().any(|one| one.law.rolls());
        let budget = believed.iter().map(|one| one.law.rollout.max_unavailable.unwrap_or(1)).max();
        let others =
            believed.iter().map(|one| one.wanted().filter(|one| *one != ordinal).collect());
        let others: Vec<BTreeSet<i64>> = others.collect();
        let without = believed.iter().filter(|one| !one.wants(ordinal));
        let without: Vec<BTreeSet<i64>> = without.map(|one| one.wanted().collect()).collect();
        // Without a budget, pods are looked at from the top, and Parallel minds no lower one.
        let all = believed.iter().all(|one| one.law.rollout.max_unavailable.is_some());
        let lowest = if all { i64::MIN } else { ordinal };
        let name = pod.metadata.name.clone();
        if may_be_unwanted && of_today && now.is_ordered() && !paced {
            self.shrinks(at, set, ordinal, &name, &without);
        }
        if always_wanted && held {
            let what = format!("{name} is taken down below the partition {}", now.partition());
            self.violated(at, Invariant::Partition, what);
        }
        if always_wanted && !of_today {
            if paused {
                let what = format!("{name} is taken down while the rollout is paused");
                self.violated(at, Invariant::Paused, what);
            }
            match rolls {
                false => self.updates(at, &now, ordinal, &name),
                true => {
                    let minded: Vec<BTreeSet<i64>> =
                        others.iter().map(|all| all.range(lowest..).copied().collect()).collect();
                    self.spends(at, set, &name, &minded, budget.unwrap_or(1));
                }
            }
        }
    }

    /// It has not begun, and one of its claims is being deleted: it goes so that the claim can.
    fn waits_for_claim(&self, pod: &Pod) -> bool {
        let used = pod.spec.volumes.iter().filter_map(|one| one.persistent_volume_claim.as_ref());
        pod.status.phase == "Pending"
            && used.into_iter().any(|claim| self.going.contains(&claim.claim_name))
    }

    /// A rollout by a policy takes a healthy pod: with those that are down there are no more than it
    /// allows. `wanted` has the other ordinals that it minds, by belief.
    fn spends(&mut self, at: At, set: &str, name: &str, wanted: &[BTreeSet<i64>], budget: usize) {
        let life = self.pods.get(name).and_then(|lives| lives.last());
        let well = life.and_then(|life| life.well_since_ms).is_some_and(|ms| ms < at.since());
        if !well {
            return; // It may be taken for a broken one, which costs nothing.
        }
        let down = |ordinal: &i64| {
            let lives = self.pods.get(&format!("{set}-{ordinal}"));
            let life = lives.and_then(|lives| lives.last());
            life.is_none_or(|life| life.taken || !life.seemed_healthy(at))
        };
        let down = wanted.iter().map(|all| all.iter().filter(|one| down(one)).count()).min();
        let down = down.unwrap_or(0) + 1;
        if down > budget {
            let what = format!("{name} is taken down, the {down}. of {set}; {budget} may be");
            self.violated(at, Invariant::Budget, what);
        }
    }

    /// `wanted` has the wanted ordinals by each belief that does not want this one.
    fn shrinks(&mut self, at: At, set: &str, ordinal: i64, name: &str, wanted: &[BTreeSet<i64>]) {
        let prefix = format!("{set}-");
        let mut above = Vec::new();
        for (other, lives) in self.pods.range(prefix.clone()..) {
            if !other.starts_with(&prefix) {
                break;
            }
            let Some(life) = lives.last().filter(|life| life.gone_ms.is_none()) else { continue };
            let owned = life.pod.metadata.set_uid().is_some();
            let unwanted = |other: i64| wanted.iter().all(|all| !all.contains(&other));
            let higher = |(_, other): (&str, i64)| other > ordinal && unwanted(other);
            if owned && life.pod.place().is_some_and(higher) {
                above.push(other.clone());
            }
        }
        for other in above {
            let what = format!("{name} is taken down before {other}");
            self.violated(at, Invariant::DescendingDeletion, what);
        }
    }

    fn updates(&mut self, at: At, set: &Set, ordinal: i64, name: &str) {
        let (name_of_set, ordered) = (set.metadata.name.clone(), set.is_ordered());
        let last = self.courses.get(&name_of_set).and_then(|course| course.updating);
        if let Some((other, since)) = last {
            let lives = self.pods.get(&format!("{name_of_set}-{other}"));
            let back = lives.and_then(|lives| lives.last()).is_some_and(|life| {
                !life.taken && life.healthy_ms.is_some_and(|healthy| healthy >= since)
            });
            let course = self.courses.get(&name_of_set);
            let steady = course.is_some_and(|course| {
                course.believed(since).iter().all(|one| {
                    one.set.spec.template == set.spec.template
                        && one.wants(other)
                        && !one.law.rolls()
                        && one.set.metadata.uid == set.metadata.uid
                })
            });
            if !back && steady && (ordered || other > ordinal) && other != ordinal {
                let what = format!("{name} is taken down while {name_of_set}-{other} is");
                self.violated(at, Invariant::Budget, what);
            }
        }
        if let Some(course) = self.courses.get_mut(&name_of_set) {
            course.updating = Some((ordinal, at.ms));
        }
    }

    fn set(&mut self, at: At, name: &str, set: Set, deleted: bool) {
        let wrote = self.actor(at) == CONTROLLER;
        let course = self.courses.entry(name.to_owned()).or_default();
        let before = course.states.last().map(|(_, set)| set.status.clone());
        course.deleted = deleted;
        let told = (set.status.replicas, set.status.ready_replicas);
        let uid = set.metadata.uid.clone();
        let changed = before.is_some_and(|before| before != set.status);
        course.states.push((at.ms, set));
        if wrote && changed && !deleted {
            let counts = self.counts.get(&uid).map_or(&[][..], Vec::as_slice);
            let first = counts.partition_point(|(began, _)| *began < at.since());
            let near = &counts[first.saturating_sub(1)..];
            let none = first == 0 && told == (0, 0);
            if !none && !near.iter().any(|(_, count)| *count == told) {
                let what = format!("{name} is said to have {told:?} pods and ready pods: {near:?}");
                self.violated(at, Invariant::StatusTrue, what);
            }
        }
    }

    fn revision(&mut self, at: At, name: &str, revision: &Thing) {
        let template = &revision.data["spec"]["template"];
        let image = template["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        self.images.insert(name.to_owned(), image.to_owned());
        let Some(owner) = revision.metadata.set_uid() else { return };
        let key = (owner.to_owned(), revision.data.to_string());
        let first = self.templates.entry(key).or_insert_with(|| name.to_owned()).clone();
        if first != name {
            let what = format!("one template is both {first} and {name}");
            self.violated(at, Invariant::RevisionTrue, what);
        }
    }

    fn claim(&mut self, at: At, name: &str, claim: &Thing, deleted: bool) {
        let marked = deleted || claim.metadata.is_terminating();
        if deleted {
            self.going.remove(name);
        } else if marked {
            self.going.insert(name.to_owned());
        }
        if !marked {
            self.claims.entry(name.to_owned()).or_insert(at.ms);
        } else if let Some(made_ms) = self.claims.remove(name) {
            let who = self.actor(at).to_owned();
            if who != "person" && !who.is_empty() && !self.lets_go(name, made_ms, &who) {
                let what = format!("{who} deletes {name}");
                self.violated(at, Invariant::ClaimsKept, what);
            }
        }
    }

    /// Whether this claim's set has let it go at some time since it was made.
    fn lets_go(&self, claim: &str, made_ms: u64, who: &str) -> bool {
        let place = claim.strip_prefix("data-").and_then(|pod| pod.rsplit_once('-'));
        let Some((set, Ok(ordinal))) = place.map(|(set, o)| (set, o.parse::<i64>())) else {
            return false;
        };
        let Some(course) = self.courses.get(set) else { return false };
        let believed = course.believed(made_ms);
        let mut uids: BTreeSet<&str> = BTreeSet::new();
        uids.extend(believed.iter().map(|one| one.set.metadata.uid.as_str()));
        let ends = course.deleted
            || uids.len() > 1
            || believed.iter().any(|one| one.set.metadata.is_terminating());
        let mut policies = believed
            .iter()
            .map(|one| (one, &one.set.spec.persistent_volume_claim_retention_policy));
        match who {
            COLLECTOR => policies.any(|(one, policy)| {
                let scaled = policy.when_scaled == "Delete" && !one.wants(ordinal);
                scaled || policy.when_deleted == "Delete" && ends
            }),
            CONTROLLER => believed
                .iter()
                .any(|one| one.law.ordinals.claims == "Delete" && one.law.reserves(ordinal)),
            _ => false,
        }
    }
}
