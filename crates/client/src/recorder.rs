//! Events: told once, counted when told again, and never so many that they drown the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{Merge, WriteError, Writer};

/// Events that wait to be written; more are dropped, as they only tell.
const WAITING_MAX: usize = 1000;
/// Events that are written at once: each is a commit, and commits at once share a sync of the disk.
const AT_ONCE: usize = 64;
/// Remembered events; the oldest ones are told anew.
const REMEMBERED_MAX: usize = 4096;
/// Different messages of one reason on one object within [`SIMILAR_S`], before they are counted as one.
const SIMILAR_MAX: usize = 10;
/// Seconds after which similar events are told one by one again.
const SIMILAR_S: i64 = 600;
/// Events on one object in a row …
const BURST: f64 = 25.0;
/// … and afterwards one in so many seconds.
const REFILL_S: f64 = 300.0;

/// What is told about an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The object; events on one without a namespace go to `default`.
    pub about: ObjectReference,
    /// `Warning`, not `Normal`.
    pub warning: bool,
    /// In `CamelCase`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// Who tells, as [`EventSource`] has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    component: &'static str,
    /// The node; empty for what does not run on one.
    host: Arc<str>,
}

/// Something told, by whom and when.
#[derive(Debug, Clone)]
struct Noted {
    source: Source,
    told: Told,
    at: Timestamp,
}

/// Takes what one component tells; a task of its own writes it.
#[derive(Clone)]
pub struct Recorder {
    source: Source,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    sender: mpsc::Sender<Noted>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder, and the task that writes what it takes until the recorder and its clones are
    /// dropped. `host` is the node; empty for what does not run on one.
    pub fn new(
        component: &'static str,
        host: &str,
        writer: Writer,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (sender, mut receiver) = mpsc::channel::<Noted>(WAITING_MAX);
        let task = async move {
            let mut memory = Memory::default();
            let mut noted = Vec::new();
            while receiver.recv_many(&mut noted, AT_ONCE).await > 0 {
                let writes = noted.drain(..).filter_map(|noted| memory.take(noted));
                let writes = together(writes);
                for error in carry_out(&mut memory, &writer, writes).await {
                    tracing::warn!(component, %error, "an event could not be written");
                }
            }
        };
        (Self { source: Source { component, host: host.into() }, now, sender }, task)
    }

    /// The same, in the name of another component.
    #[must_use]
    pub fn of(&self, component: &'static str) -> Self {
        let source = Source { component, ..self.source.clone() };
        Self { source, ..self.clone() }
    }

    /// Tells; when too much waits already, it is dropped.
    pub fn tell(&self, told: Told) {
        let noted = Noted { source: self.source.clone(), told, at: (self.now)() };
        if let Err(error) = self.sender.try_send(noted) {
            tracing::warn!(%error, "an event was dropped");
        }
    }
}

/// The write that tells an event.
#[derive(Debug, Clone, PartialEq)]
enum Write {
    /// The first of its kind.
    Create(Box<Event>),
    /// One more: the event as it would be made anew, should the first be gone.
    Count(Box<Event>),
}

/// One write an event, in the order in which they were told: two at once would race.
fn together(writes: impl IntoIterator<Item = Write>) -> Vec<Write> {
    let mut all: Vec<Write> = Vec::new();
    for write in writes {
        let (Write::Create(event) | Write::Count(event)) = &write;
        let same = all.iter_mut().find(|known| {
            let (Write::Create(known) | Write::Count(known)) = known;
            known.metadata.name == event.metadata.name
        });
        match (same, write) {
            (None, write) => all.push(write),
            (Some(Write::Create(known)), Write::Create(event) | Write::Count(event))
            | (Some(Write::Count(known)), Write::Count(event) | Write::Create(event)) => {
                *known = event;
            }
        }
    }
    all
}

/// Writes them side by side; an event that is to be counted and is gone is made anew.
async fn carry_out(memory: &mut Memory, writer: &Writer, writes: Vec<Write>) -> Vec<WriteError> {
    let answers = join_all(writes.iter().map(|write| carry_out_one(writer, write))).await;
    let mut errors = Vec::new();
    for (write, answer) in writes.into_iter().zip(answers) {
        let answer = match (answer, write) {
            (Err(WriteError::NotFound(_)), Write::Count(mut event)) => {
                memory.begin_anew(&mut event);
                writer.create(&*event).await.map(drop)
            }
            (answer, _) => answer,
        };
        errors.extend(answer.err());
    }
    errors
}

async fn carry_out_one(writer: &Writer, write: &Write) -> Result<(), WriteError> {
    match write {
        Write::Create(event) => writer.create(&**event).await.map(drop),
        Write::Count(event) => {
            let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
            let name = event.metadata.name.as_deref().unwrap_or_default();
            let body = json!({
                "count": event.count, "lastTimestamp": event.last_timestamp, "message": event.message,
            });
            let events = api::resource::of::<Event>();
            writer.patch(events, (namespace, name), None, Merge::Strategic, &body).await.map(drop)
        }
    }
}

/// On which object, and by whom: what shares a budget.
/// Source: client-go v1.36 `tools/record/events_cache.go`, `getSpamKey`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    source: Source,
    /// `apiVersion`, kind, namespace, name and uid.
    object: [Option<String>; 5],
}

/// What makes two events the same one. Source: same, `getEventKey`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Same {
    subject: Subject,
    field_path: Option<String>,
    warning: bool,
    reason: &'static str,
    message: String,
}

impl Noted {
    fn subject(&self) -> Subject {
        let about = &self.told.about;
        let parts = [&about.api_version, &about.kind, &about.namespace, &about.name, &about.uid];
        Subject { source: self.source.clone(), object: parts.map(Clone::clone) }
    }
}

/// What has been told, and how often.
#[derive(Debug, Default)]
struct Memory {
    told: BTreeMap<Same, Remembered>,
    /// By subject, whether it is a warning, and reason. Source: same, `EventAggregatorByReasonFunc`.
    similar: BTreeMap<(Subject, bool, &'static str), Similar>,
    budgets: BTreeMap<Subject, (f64, Timestamp)>,
    /// Nanoseconds in the last name, so that no two names are equal.
    last_name: i128,
}

#[derive(Debug)]
struct Remembered {
    name: String,
    first: Timestamp,
    last: Timestamp,
    count: i32,
}

#[derive(Debug)]
struct Similar {
    messages: BTreeSet<String>,
    last: Timestamp,
}

impl Memory {
    /// What to write for it; `None` when the object has been told too much about.
    fn take(&mut self, noted: Noted) -> Option<Write> {
        let (subject, now) = (noted.subject(), noted.at);
        let Noted { source, told, .. } = noted;
        let mut message = told.message.clone();
        let mut key = Same {
            subject: subject.clone(),
            field_path: told.about.field_path.clone(),
            warning: told.warning,
            reason: told.reason,
            message: told.message.clone(),
        };
        if self.is_one_of_many(&subject, &told, now) {
            message = format!("(combined from similar events): {message}");
            key.message = "(combined)".to_owned();
        }
        if !self.spend(subject, now) {
            return None;
        }
        if let Some(known) = self.told.get_mut(&key) {
            known.count = known.count.saturating_add(1);
            known.last = now;
            let (name, times) = (known.name.clone(), (known.first, now, known.count));
            return Some(Write::Count(Box::new(event(source, told, message, name, times))));
        }
        self.forget_the_oldest();
        let name = self.name(&told.about, now);
        let known = Remembered { name: name.clone(), first: now, last: now, count: 1 };
        self.told.insert(key, known);
        Some(Write::Create(Box::new(event(source, told, message, name, (now, now, 1)))))
    }

    /// The event that was counted is gone: told as if for the first time, under the same name.
    fn begin_anew(&mut self, event: &mut Event) {
        event.count = Some(1);
        event.first_timestamp.clone_from(&event.last_timestamp);
        let name = event.metadata.name.as_ref();
        if let Some(known) = self.told.values_mut().find(|known| Some(&known.name) == name) {
            known.count = 1;
            known.first = known.last;
        }
    }

    fn is_one_of_many(&mut self, subject: &Subject, told: &Told, now: Timestamp) -> bool {
        let key = (subject.clone(), told.warning, told.reason);
        let fresh = || Similar { messages: BTreeSet::new(), last: now };
        let similar = self.similar.entry(key).or_insert_with(fresh);
        if now.duration_since(similar.last) > SignedDuration::from_secs(SIMILAR_S) {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < SIMILAR_MAX || similar.messages.contains(&told.message) {
            similar.messages.insert(told.message.clone());
        } else {
            return true;
        }
        similar.messages.len() >= SIMILAR_MAX
    }

    /// Takes one from the subject's budget.
    fn spend(&mut self, subject: Subject, now: Timestamp) -> bool {
        let (budget, since) = self.budgets.entry(subject).or_insert((BURST, now));
        let gained = now.duration_since(*since).as_secs_f64().max(0.0) / REFILL_S;
        *budget = (*budget + gained).min(BURST);
        *since = now;
        if *budget < 1.0 {
            return false;
        }
        *budget -= 1.0;
        true
    }

    /// A quarter at a time, so that a memory that stays full costs little.
    fn forget_the_oldest(&mut self) {
        if self.told.len() >= REMEMBERED_MAX {
            let mut times: Vec<Timestamp> = self.told.values().map(|known| known.last).collect();
            let (_, cut, _) = times.select_nth_unstable(REMEMBERED_MAX / 4);
            let cut = *cut;
            let mut left = REMEMBERED_MAX / 4;
            self.told.retain(|_, known| {
                let goes = known.last <= cut && left > 0;
                left -= usize::from(goes);
                !goes
            });
        }
        if self.similar.len() >= REMEMBERED_MAX {
            self.similar.clear();
        }
        if self.budgets.len() >= REMEMBERED_MAX {
            self.budgets.retain(|_, (budget, _)| *budget < BURST - 1.0);
        }
    }

    /// `<object>.<hex nanoseconds>`: name order is time order.
    fn name(&mut self, about: &ObjectReference, now: Timestamp) -> String {
        self.last_name = now.as_nanosecond().max(self.last_name + 1);
        format!("{}.{:x}", about.name.as_deref().unwrap_or_default(), self.last_name)
    }
}

fn event(
    Source { component, host }: Source,
    told: Told,
    message: String,
    name: String,
    (first, last, count): (Timestamp, Timestamp, i32),
) -> Event {
    let namespace = told.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let metadata =
        ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() };
    Event {
        metadata,
        involved_object: told.about,
        reason: Some(told.reason.to_owned()),
        message: Some(message),
        type_: Some(if told.warning { "Warning" } else { "Normal" }.to_owned()),
        source: Some(EventSource {
            component: Some(component.to_owned()),
            host: Some(host.as_ref()).filter(|host| !host.is_empty()).map(str::to_owned),
        }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(host.as_ref().to_owned()),
        first_timestamp: Some(Time(whole_seconds(first))),
        last_timestamp: Some(Time(whole_seconds(last))),
        count: Some(count),
        ..Event::default()
    }
}

/// metav1.Time has whole seconds on the wire.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str, at: Timestamp) -> Noted {
        let about = ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some("StatefulSet".to_owned()),
            namespace: Some("default".to_owned()),
            name: Some("web".to_owned()),
            uid: Some("u".to_owned()),
            ..ObjectReference::default()
        };
        let source = Source { component: "statefulset-controller", host: "".into() };
        let message = message.to_owned();
        let told = Told { about, warning: false, reason: "SuccessfulCreate", message };
        Noted { source, told, at }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn line(write: Option<Write>) -> String {
        let (verb, event) = match write {
            None => return "dropped".to_owned(),
            Some(Write::Create(event)) => ("create", event),
            Some(Write::Count(event)) => ("count", event),
        };
        let count = event.count.unwrap_or_default();
        format!("{verb} {} x{count} {}", event.metadata.name.unwrap(), event.message.unwrap())
    }

    #[test]
    fn the_same_event_is_counted() {
        let mut memory = Memory::default();
        assert_eq!(line(memory.take(told("a", at(0)))), "create web.17979cfe362a0000 x1 a");
        assert_eq!(line(memory.take(told("b", at(0)))), "create web.17979cfe362a0001 x1 b");
        assert_eq!(line(memory.take(told("a", at(5)))), "count web.17979cfe362a0000 x2 a");
        let Some(Write::Count(mut event)) = memory.take(told("a", at(9))) else {
            panic!("counted")
        };
        assert_eq!(event.first_timestamp, Some(Time(at(0))));
        memory.begin_anew(&mut event);
        assert_eq!((event.count, event.first_timestamp), (Some(1), Some(Time(at(9)))));
        assert_eq!(line(memory.take(told("a", at(10)))), "count web.17979cfe362a0000 x2 a");
    }

    #[test]
    fn what_is_told_at_once_is_written_once() {
        let mut memory = Memory::default();
        let mut at_once = |messages: &[&str], second| -> Vec<String> {
            let writes = messages.iter().filter_map(|text| memory.take(told(text, at(second))));
            let writes: Vec<Write> = writes.collect();
            together(writes).into_iter().map(|write| line(Some(write))).collect()
        };
        let first = at_once(&["a", "b", "a"], 0);
        assert_eq!(first, ["create web.17979cfe362a0000 x2 a", "create web.17979cfe362a0001 x1 b"]);
        let second = at_once(&["b", "b"], 1);
        assert_eq!(second, ["count web.17979cfe362a0001 x3 b"]);
    }

    #[test]
    fn similar_events_are_combined_after_ten() {
        let mut memory = Memory::default();
        let lines: Vec<String> =
            (0..12).map(|n| line(memory.take(told(&n.to_string(), at(n))))).collect();
        assert!(lines[8].starts_with("create") && lines[8].ends_with("x1 8"), "{}", lines[8]);
        assert!(lines[9].ends_with("x1 (combined from similar events): 9"), "{}", lines[9]);
        assert!(lines[11].ends_with("x3 (combined from similar events): 11"), "{}", lines[11]);
        let later = line(memory.take(told("later", at(700))));
        assert!(later.ends_with("x1 later"), "{later}");
    }

    #[test]
    fn one_object_has_a_budget() {
        let mut memory = Memory::default();
        let lines: Vec<String> = (0..26).map(|_| line(memory.take(told("a", at(0))))).collect();
        assert!(lines[24].contains("x25"), "{}", lines[24]);
        assert_eq!(lines[25], "dropped");
        assert!(line(memory.take(told("a", at(301)))).contains("x26"));
    }
}
