//! What is asked, what is answered, and how a person reads it: three lines.

use std::fmt;

use api::columns::age;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::snapshot::{Log, Snapshot, controller_of, name_of};

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Which kind.
    pub kind: SubjectKind,
    /// Its name.
    pub name: String,
}

/// The kinds that can be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectKind {
    /// StatefulSet
    Set,
    /// Pod
    Pod,
    /// PersistentVolumeClaim
    Claim,
    /// Service
    Service,
}

impl SubjectKind {
    /// By any name that kubectl takes for it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "statefulset" | "statefulsets" | "sts" | "statefulset.apps" | "statefulsets.apps" => {
                Some(Self::Set)
            }
            "pod" | "pods" | "po" => Some(Self::Pod),
            "persistentvolumeclaim" | "persistentvolumeclaims" | "pvc" => Some(Self::Claim),
            "service" | "services" | "svc" => Some(Self::Service),
            _ => None,
        }
    }

    /// As in `kubectl get`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            SubjectKind::Set => "statefulset",
            SubjectKind::Pod => "pod",
            SubjectKind::Claim => "pvc",
            SubjectKind::Service => "service",
        }
    }

    /// The server's name for it, as in its own "not found".
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            SubjectKind::Set => "statefulsets.apps",
            SubjectKind::Pod => "pods",
            SubjectKind::Claim => "persistentvolumeclaims",
            SubjectKind::Service => "services",
        }
    }
}

/// One object on the way from what is asked about to the root cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// As in `kubectl get`, or `container`, `image`, `probe`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Somebody must do something.
    Stuck,
    /// It goes on by itself.
    Waiting,
    /// It runs, and there is something to know.
    Works,
    /// Nothing is wrong.
    Fine,
}

/// The machine word of a root cause: stable, `CamelCase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The server refused an object, in words that no rule here knows.
    Refused,
    /// A webhook or a policy refused it.
    AdmissionRefused,
    /// A webhook that must be asked does not answer.
    WebhookDown,
    /// A ResourceQuota is spent, or asks for limits.
    QuotaExceeded,
    /// A LimitRange refuses the container's sizes.
    LimitRange,
    /// The namespace's pod security level refuses it.
    PodSecurity,
    /// Its service account does not exist.
    ServiceAccountMissing,
    /// Its priority class does not exist.
    PriorityClassMissing,
    /// Its namespace is being deleted.
    NamespaceTerminating,
    /// The set's name leaves no room for its pods' labels.
    NameTooLong,
    /// Another pod has the name.
    NameSquatted,
    /// Nobody acts on the set.
    ControllerSilent,
    /// It is about to be made.
    Creating,
    /// The rollout replaces a pod now.
    RollingOut,
    /// The rollout was paused by its policy.
    Paused,
    /// The set's policy does not act.
    PolicyIgnored,
    /// The rollout made no progress for too long.
    DeadlineExceeded,
    /// `OnDelete`: old pods stay until somebody deletes them.
    OnDelete,
    /// `partition`: pods below it keep the old template.
    Partition,
    /// Ready, but not yet for `minReadySeconds`.
    Settling,
    /// The set's Service does not exist.
    ServiceMissing,
    /// The set's Service does not name these pods.
    ServiceMismatch,
    /// A scheduling gate is on.
    SchedulingGated,
    /// No node will do.
    Unschedulable,
    /// No scheduler took the pod.
    SchedulerSilent,
    /// The pod's node does not exist.
    NodeGone,
    /// The pod's node is not ready.
    NodeNotReady,
    /// The node has not begun with the pod.
    NodeSilent,
    /// The image cannot be had.
    ImagePull,
    /// A container cannot be made from what the pod names.
    ContainerConfig,
    /// A container cannot be started.
    ContainerStart,
    /// A container ends again and again.
    CrashLoop,
    /// A container was killed for its memory.
    OutOfMemory,
    /// A probe fails.
    ProbeFails,
    /// A readiness gate is not set.
    ReadinessGate,
    /// A volume cannot be mounted.
    MountFails,
    /// The pod is being started.
    Starting,
    /// An init container runs.
    Initializing,
    /// The pod has ended.
    Ended,
    /// A finalizer keeps it.
    FinalizerHolds,
    /// Its grace period runs.
    GraceRuns,
    /// Its node has not said that it ended.
    StillRunning,
    /// The claim does not exist.
    ClaimMissing,
    /// The claim is being deleted.
    ClaimTerminating,
    /// The claim's volume is lost.
    ClaimLost,
    /// The claim's class does not exist.
    ClassMissing,
    /// No volume fits the claim, and nothing makes one.
    NoVolumeFits,
    /// The volume that the claim names does not exist, or cannot be had.
    VolumeUnavailable,
    /// Whoever makes volumes of the class fails.
    ProvisionerFails,
    /// Whoever makes volumes of the class does not act.
    ProvisionerSilent,
    /// The claim waits for a pod.
    WaitsForConsumer,
    /// The volume cannot be grown.
    ResizeFails,
    /// The Service's selector matches no pod.
    SelectorMatchesNothing,
    /// The Service has no selector, and nobody wrote its endpoints.
    NoSelector,
    /// A pod lacks the port that the Service names.
    PortMissing,
    /// Endpoints are not written though pods are ready.
    EndpointsMissing,
    /// Nobody gives the Service its address.
    LoadBalancerPending,
    /// It could not be read.
    Unreadable,
}

/// The root cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Its machine word.
    pub reason: Reason,
    /// What is wrong, as a sentence without its end.
    pub why: String,
    /// The command or edit that ends it.
    pub cure: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// A log that would tell more; once it is in the snapshot, `why` quotes it.
    pub log: Option<Log>,
    /// The pods of other namespaces would tell more.
    pub wants_all_pods: bool,
}

impl Cause {
    pub(crate) fn new(reason: Reason, why: impl Into<String>, cure: impl Into<String>) -> Self {
        let (why, cure) = (why.into(), cure.into());
        Self { reason, why, cure, since: None, log: None, wants_all_pods: false }
    }

    pub(crate) fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }

    pub(crate) fn stuck(self) -> Finding {
        Finding { state: State::Stuck, chain: Vec::new(), cause: self }
    }

    pub(crate) fn waiting(self) -> Finding {
        Finding { state: State::Waiting, chain: Vec::new(), cause: self }
    }

    pub(crate) fn works(self) -> Finding {
        Finding { state: State::Works, chain: Vec::new(), cause: self }
    }
}

/// A cause, and the way to it from some object, that object first.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) state: State,
    pub(crate) chain: Vec<Link>,
    pub(crate) cause: Cause,
}

impl Finding {
    /// The same, seen from one object further away.
    pub(crate) fn through(mut self, kind: &'static str, name: impl Into<String>) -> Self {
        self.chain.insert(0, Link { kind, name: name.into() });
        self
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Its namespace.
    pub namespace: String,
    /// What was asked about.
    pub subject: Link,
    /// How it stands.
    pub state: State,
    /// How it stands, in words.
    pub summary: String,
    /// The way from the subject to the root cause, both included.
    pub chain: Vec<Link>,
    /// The root cause; absent exactly when nothing is wrong.
    pub cause: Option<Cause>,
    /// What could not be read, each with the server's sentence.
    pub unseen: Vec<(&'static str, String)>,
    /// When this was so.
    pub now: Timestamp,
}

/// Why this object does not go on, or that nothing is wrong; `None` when it is not there.
///
/// A pod that is not there, but wanted by a set, is explained through its set.
///
/// Infallible and deterministic: equal snapshots have equal answers.
#[must_use]
pub fn explain(seen: &Snapshot, subject: &Subject, now: Timestamp) -> Option<Explanation> {
    let case = Case { seen, now };
    let name = subject.name.as_str();
    let (summary, finding) = match subject.kind {
        SubjectKind::Set => case.whole_set(seen.set(name)?),
        SubjectKind::Pod => match seen.pod(name) {
            Some(pod) => case.whole_pod(pod),
            None => case.absent_pod(name)?,
        },
        SubjectKind::Claim => case.whole_claim(seen.claim(name)?),
        SubjectKind::Service => case.whole_service(seen.service(name)?),
    };
    let subject = Link { kind: subject.kind.word(), name: name.to_owned() };
    let mut chain = vec![subject.clone()];
    let (state, cause) = match finding {
        Some(finding) => {
            chain.extend(finding.chain);
            (finding.state, Some(finding.cause))
        }
        None => (State::Fine, None),
    };
    let unseen = seen.unseen.iter().map(|(part, why)| (part.name(), why.clone())).collect();
    let namespace = seen.namespace.clone();
    Some(Explanation { namespace, subject, state, summary, chain, cause, unseen, now })
}

/// The snapshot and the clock: what every rule may look at.
pub(crate) struct Case<'a> {
    pub(crate) seen: &'a Snapshot,
    pub(crate) now: Timestamp,
}

impl Case<'_> {
    /// A command that a person can run as it stands.
    pub(crate) fn kubectl(&self, command: &str) -> String {
        match self.seen.namespace.as_str() {
            "default" | "" => format!("kubectl {command}"),
            namespace => format!("kubectl -n {namespace} {command}"),
        }
    }

    /// How to change a pod's template, or the pod itself where it has none.
    pub(crate) fn edit(&self, pod: &api::k8s::api::core::v1::Pod) -> String {
        let name = name_of(&pod.metadata);
        match controller_of(&pod.metadata) {
            Some(owner) => {
                let kind = owner.kind.to_ascii_lowercase();
                self.kubectl(&format!("edit {kind} {}", owner.name))
            }
            None => format!("{}, and make it anew", self.kubectl(&format!("delete pod {name}"))),
        }
    }

    /// Seconds since then; 0 for what lies ahead or is not known.
    pub(crate) fn age_s(&self, then: Option<Timestamp>) -> i64 {
        then.map_or(0, |then| self.now.duration_since(then).as_secs()).max(0)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(cause) = &self.cause else {
            return write!(f, "{}: nothing is wrong: {}", self.subject, self.summary);
        };
        let stands = match self.state {
            State::Stuck => "is stuck",
            State::Waiting => "goes on by itself",
            State::Works | State::Fine => "works",
        };
        writeln!(f, "{} {stands}: {}", self.subject, self.summary)?;
        let way: Vec<String> = self.chain.iter().skip(1).map(Link::to_string).collect();
        let way = if way.is_empty() { String::new() } else { way.join(" > ") + ": " };
        write!(f, "why:  {way}{}", cause.why)?;
        if let Some(since) = cause.since {
            write!(f, " (since {since:.0}, {})", age::since(Some(since), self.now))?;
        }
        write!(f, "\ncure: {}", cause.cure)
    }
}

impl Explanation {
    /// The same for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let link = |link: &Link| json!({"kind": link.kind, "name": link.name});
        let cause = self.cause.as_ref();
        json!({
            "namespace": self.namespace,
            "subject": link(&self.subject),
            "state": format!("{:?}", self.state),
            "healthy": self.state == State::Fine,
            "summary": self.summary,
            "chain": self.chain.iter().map(link).collect::<Vec<_>>(),
            "reason": cause.map(|cause| format!("{:?}", cause.reason)),
            "why": cause.map(|cause| &cause.why),
            "since": cause.and_then(|cause| cause.since).map(|since| format!("{since:.0}")),
            "cure": cause.map(|cause| &cause.cure),
            "unseen": self.unseen.iter().map(|(part, why)| json!({"part": part, "why": why}))
                .collect::<Vec<_>>(),
        })
    }
}
