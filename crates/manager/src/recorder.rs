//! Events: told once, counted when told again, and never so many that they drown the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use client::{Merge, WriteError, Writer};
use controllers::Target;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use serde_json::json;
use tokio::sync::mpsc;

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) regarding: Regarding,
    pub(crate) warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// On which object, as an event names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Regarding {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

impl From<&Target> for Regarding {
    fn from(target: &Target) -> Self {
        Self {
            api_version: target.resource().map(|r| r.names().api_version()).unwrap_or_default(),
            kind: target.kind.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            uid: target.uid.clone(),
        }
    }
}

/// Takes what one controller tells; a task of its own writes it.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    sender: mpsc::Sender<Told>,
}

impl Recorder {
    /// A recorder, and the task that writes what it takes until the recorder is dropped.
    pub(crate) fn new(
        component: &'static str,
        writer: Writer,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, mut receiver) = mpsc::channel::<Told>(WAITING_MAX);
        let task = async move {
            let mut memory = Memory::new(component);
            let mut told = Vec::new();
            while receiver.recv_many(&mut told, AT_ONCE).await > 0 {
                let writes = told.drain(..).filter_map(|told| memory.take(told, now()));
                let writes = together(writes);
                for error in carry_out(&mut memory, &writer, writes).await {
                    tracing::warn!(component, %error, "an event could not be written");
                }
            }
        };
        (Self { sender }, task)
    }

    /// Tells; when too much waits already, it is dropped.
    pub(crate) fn tell(&self, told: Told) {
        if let Err(error) = self.sender.try_send(told) {
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

/// What has been told, and how often.
#[derive(Debug)]
struct Memory {
    component: &'static str,
    told: BTreeMap<Told, Remembered>,
    similar: BTreeMap<(Regarding, bool, &'static str), Similar>,
    budgets: BTreeMap<Regarding, (f64, Timestamp)>,
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
    fn new(component: &'static str) -> Self {
        let (told, similar, budgets) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { component, told, similar, budgets, last_name: 0 }
    }

    /// What to write for it; `None` when the object has been told too much about.
    fn take(&mut self, told: Told, now: Timestamp) -> Option<Write> {
        let mut key = told.clone();
        let mut message = told.message.clone();
        if self.is_one_of_many(&told, now) {
            message = format!("(combined from similar events): {message}");
            key.message = "(combined)".to_owned();
        }
        if !self.spend(&told.regarding, now) {
            return None;
        }
        if let Some(known) = self.told.get_mut(&key) {
            known.count = known.count.saturating_add(1);
            known.last = now;
            let (name, first, count) = (known.name.clone(), known.first, known.count);
            return Some(Write::Count(Box::new(self.event(
                &told,
                message,
                name,
                (first, now, count),
            ))));
        }
        self.forget_the_oldest();
        let name = self.name(&told.regarding, now);
        let known = Remembered { name: name.clone(), first: now, last: now, count: 1 };
        self.told.insert(key, known);
        Some(Write::Create(Box::new(self.event(&told, message, name, (now, now, 1)))))
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

    fn is_one_of_many(&mut self, told: &Told, now: Timestamp) -> bool {
        let key = (told.regarding.clone(), told.warning, told.reason);
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

    /// Takes one from the object's budget.
    fn spend(&mut self, regarding: &Regarding, now: Timestamp) -> bool {
        let (budget, since) = self.budgets.entry(regarding.clone()).or_insert((BURST, now));
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
    fn name(&mut self, regarding: &Regarding, now: Timestamp) -> String {
        self.last_name = now.as_nanosecond().max(self.last_name + 1);
        format!("{}.{:x}", regarding.name, self.last_name)
    }

    fn event(
        &self,
        told: &Told,
        message: String,
        name: String,
        (first, last, count): (Timestamp, Timestamp, i32),
    ) -> Event {
        let on = &told.regarding;
        let namespace = if on.namespace.is_empty() { "default" } else { &on.namespace };
        let metadata = ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        };
        Event {
            metadata,
            involved_object: ObjectReference {
                api_version: Some(on.api_version.clone()),
                kind: Some(on.kind.clone()),
                namespace: Some(on.namespace.clone()).filter(|name| !name.is_empty()),
                name: Some(on.name.clone()),
                uid: Some(on.uid.clone()),
                ..ObjectReference::default()
            },
            reason: Some(told.reason.to_owned()),
            message: Some(message),
            type_: Some(if told.warning { "Warning" } else { "Normal" }.to_owned()),
            source: Some(EventSource { component: Some(self.component.to_owned()), host: None }),
            reporting_component: Some(self.component.to_owned()),
            reporting_instance: Some(String::new()),
            first_timestamp: Some(Time(whole_seconds(first))),
            last_timestamp: Some(Time(whole_seconds(last))),
            count: Some(count),
            ..Event::default()
        }
    }
}

/// metav1.Time has whole seconds on the wire.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> Told {
        let target = Target {
            group: "apps".to_owned(),
            kind: "StatefulSet".to_owned(),
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: "u".to_owned(),
        };
        Told {
            regarding: Regarding::from(&target),
            warning: false,
            reason: "SuccessfulCreate",
            message: message.to_owned(),
        }
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
        let mut memory = Memory::new("statefulset-controller");
        assert_eq!(line(memory.take(told("a"), at(0))), "create web.17979cfe362a0000 x1 a");
        assert_eq!(line(memory.take(told("b"), at(0))), "create web.17979cfe362a0001 x1 b");
        assert_eq!(line(memory.take(told("a"), at(5))), "count web.17979cfe362a0000 x2 a");
        let Some(Write::Count(mut event)) = memory.take(told("a"), at(9)) else {
            panic!("counted")
        };
        assert_eq!(event.first_timestamp, Some(Time(at(0))));
        memory.begin_anew(&mut event);
        assert_eq!((event.count, event.first_timestamp), (Some(1), Some(Time(at(9)))));
        assert_eq!(line(memory.take(told("a"), at(10))), "count web.17979cfe362a0000 x2 a");
    }

    #[test]
    fn what_is_told_at_once_is_written_once() {
        let mut memory = Memory::new("c");
        let mut at_once = |messages: &[&str], second| -> Vec<String> {
            let writes = messages.iter().filter_map(|text| memory.take(told(text), at(second)));
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
        let mut memory = Memory::new("c");
        let lines: Vec<String> =
            (0..12).map(|n| line(memory.take(told(&n.to_string()), at(n)))).collect();
        assert!(lines[8].starts_with("create") && lines[8].ends_with("x1 8"), "{}", lines[8]);
        assert!(lines[9].ends_with("x1 (combined from similar events): 9"), "{}", lines[9]);
        assert!(lines[11].ends_with("x3 (combined from similar events): 11"), "{}", lines[11]);
        let later = line(memory.take(told("later"), at(700)));
        assert!(later.ends_with("x1 later"), "{later}");
    }

    #[test]
    fn one_object_has_a_budget() {
        let mut memory = Memory::new("c");
        let lines: Vec<String> = (0..26).map(|_| line(memory.take(told("a"), at(0)))).collect();
        assert!(lines[24].contains("x25"), "{}", lines[24]);
        assert_eq!(lines[25], "dropped");
        assert!(line(memory.take(told("a"), at(301))).contains("x26"));
    }
}
