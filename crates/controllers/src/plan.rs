//! The one plan type of all controllers: what to write, what it saw, why, and what it waits for.

use std::fmt;

use api::{Object, k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta, resource};
use jiff::Timestamp;
use serde_json::Value;

/// What a controller decided: writes in order, why it stops, and when to look again.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// To be carried out in order. A failed one ends its group; the rest of the plan is dropped
    /// and decided anew, except actions marked `always`.
    pub actions: Vec<Action>,
    /// What must become true before the plan can go on; printed in logs, events and `why`.
    pub waits: Vec<Wait>,
    /// The earliest moment at which the same view decides otherwise.
    pub look_again: Option<Timestamp>,
}

/// One API write, complete: whoever carries it out has nothing left to choose.
#[derive(Debug, Clone)]
pub struct Action {
    /// What is written.
    pub verb: Verb,
    /// Why, for the log.
    pub why: String,
    /// Actions with the same number run side by side; a number waits for the ones below it. A plan's
    /// actions are sorted by it.
    pub group: u32,
    /// Carried out even after another action of the plan failed (status, events).
    pub always: bool,
    /// Events to record on success and on failure.
    pub events: Option<Outcome>,
}

impl Action {
    /// This write, first in line, without events.
    #[must_use]
    pub fn new(verb: Verb, why: &str) -> Self {
        Self { verb, why: why.to_owned(), group: 0, always: false, events: None }
    }

    /// Deletes what was seen, with the object's own grace and the kind's own propagation.
    #[must_use]
    pub fn delete(target: Target, why: &str) -> Self {
        let (resource_version, grace_period_s, propagation) = (None, None, None);
        let verb = Verb::Delete { target, resource_version, grace_period_s, propagation };
        Self::new(verb, why)
    }

    /// Replaces the object, or one of its parts.
    #[must_use]
    pub fn update(
        object: impl api::object::Typed,
        subresource: Option<&'static str>,
        why: &str,
    ) -> Self {
        Self::new(Verb::Update { object: Box::new(object), subresource }, why)
    }

    /// Merges `body` into what was seen.
    #[must_use]
    pub fn merge(
        target: Target,
        subresource: Option<&'static str>,
        body: Value,
        why: &str,
    ) -> Self {
        Self::new(Verb::Patch { target, subresource, kind: PatchKind::Merge, body }, why)
    }

    /// Writes nothing; says this on `regarding`.
    #[must_use]
    pub fn note(regarding: Target, note: Note, why: &str) -> Self {
        let events = Some(Outcome { regarding, success: Some(note), failure: Vec::new() });
        Self { events, ..Self::new(Verb::Note, why) }
    }

    /// In this group.
    #[must_use]
    pub fn in_group(mut self, group: u32) -> Self {
        self.group = group;
        self
    }
}

impl Note {
    /// A `Normal` event.
    #[must_use]
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: false, reason, message: message.into(), unless_exists: false }
    }

    /// A `Warning` event.
    #[must_use]
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: true, reason, message: message.into(), unless_exists: false }
    }

    /// Not said when the failure is that the object exists already.
    #[must_use]
    pub fn unless_exists(mut self) -> Self {
        self.unless_exists = true;
        self
    }
}

/// The write itself.
#[derive(Debug, Clone)]
pub enum Verb {
    /// Creates this object under its own name; AlreadyExists is an answer like any other error.
    Create(Box<dyn Object>),
    /// Replaces it. `metadata.uid` and `metadata.resourceVersion` are those of the view.
    Update {
        /// The whole object.
        object: Box<dyn Object>,
        /// `status`, `scale` …, or `None` for the object itself.
        subresource: Option<&'static str>,
    },
    /// Changes a part. The uid, and the version where it matters, stand in the patch itself.
    Patch {
        /// Which object.
        target: Target,
        /// `status` …, or `None`.
        subresource: Option<&'static str>,
        /// How `body` is merged.
        kind: PatchKind,
        /// The patch.
        body: Value,
    },
    /// Deletes it if it still is the one that was seen; NotFound is a success.
    Delete {
        /// Which object; its uid is a precondition.
        target: Target,
        /// The version that was seen, where a later one might change the decision.
        resource_version: Option<String>,
        /// `None` leaves the object's own grace.
        grace_period_s: Option<i64>,
        /// What becomes of its dependents; `None` is the kind's default.
        propagation: Option<Propagation>,
    },
    /// Binds a pod to a node (`pods/binding`).
    Bind {
        /// The pod.
        target: Target,
        /// The node's name.
        node: String,
    },
    /// Reads it live and fails unless it is the one that was seen and is not being deleted.
    Confirm(Target),
    /// Reads it live and fails if the one that was seen is still there; with an empty uid, if any is.
    ConfirmGone(Target),
    /// Writes nothing: its outcome is a success.
    Note,
}

/// What becomes of a deleted object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay, without this owner.
    Orphan,
}

/// How a patch is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 7386.
    Merge,
    /// With upstream's list keys.
    Strategic,
}

/// An object that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// API group; empty for core.
    pub group: String,
    /// `CamelCase`.
    pub kind: String,
    /// Empty for cluster-scoped ones.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: a namesake is another object.
    pub uid: String,
}

impl Target {
    /// The one this object is.
    #[must_use]
    pub fn of(object: &dyn Object) -> Self {
        let ObjectMeta { namespace, name, uid, .. } = object.meta();
        let (group, _) = object.api_version().split_once('/').unwrap_or(("", ""));
        Self {
            group: group.to_owned(),
            kind: object.kind().to_owned(),
            namespace: namespace.clone().unwrap_or_default(),
            name: name.clone().unwrap_or_default(),
            uid: uid.clone().unwrap_or_default(),
        }
    }

    /// Its entry in the table of kinds.
    #[must_use]
    pub fn resource(&self) -> Option<&'static dyn resource::Resource> {
        resource::by_kind(&self.group, &self.kind)
    }
}

/// What people are told about an action, on the object `regarding`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// On which object.
    pub regarding: Target,
    /// Reason and message when it succeeded (`Normal` unless said otherwise).
    pub success: Option<Note>,
    /// What is said, in order, when it failed; `{error}` in a message stands for the error's text.
    pub failure: Vec<Note>,
}

/// One event's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// `Warning` instead of `Normal`.
    pub warning: bool,
    /// `CamelCase` machine word.
    pub reason: &'static str,
    /// The sentence; `{error}` stands for the error's text.
    pub message: String,
    /// Not said when the failure is that the object exists already.
    pub unless_exists: bool,
}

/// What must become true before a plan can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// This pod must become healthy: Running, Ready, available.
    Healthy(String),
    /// This pod must be gone.
    Gone(String),
    /// This claim must be gone, or its deletion finished.
    ClaimGone(String),
    /// This claim must be bound.
    Bound(String),
    /// This StatefulSetPolicy must no longer pause the rollout.
    Resumed(String),
    /// An older cache must catch up with our own write of this object.
    Fresh(String),
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Healthy(pod) => write!(f, "until pod {pod} is healthy"),
            Wait::Gone(pod) => write!(f, "until pod {pod} is gone"),
            Wait::ClaimGone(claim) => write!(f, "until claim {claim} is gone"),
            Wait::Bound(claim) => write!(f, "until claim {claim} is bound"),
            Wait::Resumed(policy) => write!(f, "until StatefulSetPolicy {policy} is not paused"),
            Wait::Fresh(object) => write!(f, "until the cache has our last write of {object}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// What it does; `{:#}` also says why.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verb {
            Verb::Create(object) => write!(f, "create {}", Target::of(&**object))?,
            Verb::Update { object, subresource } => {
                write!(f, "update {}{}", part(*subresource), Target::of(&**object))?;
            }
            Verb::Patch { target, subresource, .. } => {
                write!(f, "patch {}{target}", part(*subresource))?;
            }
            Verb::Delete { target, grace_period_s: Some(0), .. } => {
                write!(f, "delete {target} by force")?;
            }
            Verb::Delete { target, .. } => write!(f, "delete {target}")?,
            Verb::Bind { target, node } => write!(f, "bind {target} to {node}")?,
            Verb::Confirm(target) => write!(f, "confirm {target}")?,
            Verb::ConfirmGone(target) => write!(f, "confirm that {target} is gone")?,
            Verb::Note => {
                let note = self.events.as_ref().and_then(|events| events.success.as_ref());
                let reason = note.map_or("nothing", |note| note.reason);
                write!(f, "say {reason}")?;
            }
        }
        if f.alternate() {
            write!(f, " ({})", self.why)?;
        }
        Ok(())
    }
}

/// Actions in order, then what it waits for, then when it looks again: one line for logs, tests
/// and `why`; `{:#}` gives each action its reason.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        for action in &self.actions {
            parts.push(if f.alternate() { format!("{action:#}") } else { action.to_string() });
        }
        parts.extend(self.waits.iter().map(Wait::to_string));
        parts.extend(self.look_again.map(|at| format!("look again at {at}")));
        if parts.is_empty() {
            return f.write_str("nothing to do");
        }
        f.write_str(&parts.join("; "))
    }
}

fn part(subresource: Option<&str>) -> String {
    subresource.map(|part| format!("{part} of ")).unwrap_or_default()
}
