//! What the store knows in memory: the latest rows, and the window of the log.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use crate::contract::{Event, ListError, Listing, Record, Row};

/// How much of the log is kept for watches and for lists at older revisions.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// An event that is older goes. Milliseconds; 5 minutes, as upstream's compaction has it.
    pub age_ms: u64,
    /// The oldest events go while the values of all are longer than this. 64 MiB: an hour of a busy
    /// small cluster, a minute of a large one.
    pub bytes: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { age_ms: 5 * 60 * 1000, bytes: 64 * 1024 * 1024 }
    }
}

#[derive(Debug)]
struct Logged {
    event: Event,
    at_ms: u64,
}

/// Rows and log.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) rows: BTreeMap<Arc<str>, Arc<Row>>,
    pub(crate) revision: u64,
    /// The oldest revision whose rows are still known: events after it are in the log.
    pub(crate) oldest: u64,
    log: VecDeque<Logged>,
    /// How many events have left the log at its front: positions of cursors stay valid.
    dropped: u64,
    bytes: u64,
}

fn event_bytes(event: &Event) -> u64 {
    (event.after.value.len() + event.after.index.len()) as u64
}

impl State {
    /// No rows and no log at this revision.
    pub(crate) fn at(revision: u64) -> Self {
        Self { revision, oldest: revision, ..Self::default() }
    }

    /// The events of a record on top of these rows, which must be those before it.
    pub(crate) fn events(&self, record: &Record) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::with_capacity(record.changes.len());
        for change in &record.changes {
            events.push(Event {
                revision: record.revision,
                before: self.rows.get(&change.key).cloned(),
                after: Arc::new(Row {
                    key: change.key.clone(),
                    revision: record.revision,
                    value: change.value.clone(),
                    index: change.index.clone(),
                }),
                deleted: change.deleted,
            });
        }
        events
    }

    /// Makes these events, all of one revision, the latest.
    pub(crate) fn apply(&mut self, events: &[Event], at_ms: u64) {
        for event in events {
            if event.deleted {
                self.rows.remove(&event.after.key);
            } else {
                self.rows.insert(event.after.key.clone(), event.after.clone());
            }
            self.revision = event.revision;
            self.bytes += event_bytes(event);
            self.log.push_back(Logged { event: event.clone(), at_ms });
        }
    }

    /// Forgets what is beyond the window, whole commits at a time; says what goes, and whether
    /// something went.
    pub(crate) fn trim(
        &mut self,
        window: &Window,
        now_ms: u64,
        mut forget: impl FnMut(&Event),
    ) -> bool {
        let oldest = self.oldest;
        while let Some(front) = self.log.front() {
            let aged = front.at_ms.saturating_add(window.age_ms) < now_ms;
            if !aged && self.bytes <= window.bytes {
                break;
            }
            let revision = front.event.revision;
            while let Some(front) = self.log.front()
                && front.event.revision == revision
            {
                self.bytes -= event_bytes(&front.event);
                forget(&front.event);
                self.log.pop_front();
                self.dropped += 1;
            }
            self.oldest = revision;
        }
        self.oldest != oldest
    }

    /// Where a cursor stands that has seen everything up to this revision.
    pub(crate) fn position_after(&self, revision: u64) -> u64 {
        let index = self.log.partition_point(|logged| logged.event.revision <= revision);
        self.dropped + index as u64
    }

    /// Where the oldest event of the log stands.
    pub(crate) fn first_position(&self) -> u64 {
        self.dropped
    }

    /// The events from a position on; `None` where some of them are forgotten.
    pub(crate) fn events_from(&self, position: u64) -> Option<impl Iterator<Item = &Event>> {
        let index = usize::try_from(position.checked_sub(self.dropped)?).ok()?;
        Some(self.log.range(index.min(self.log.len())..).map(|logged| &logged.event))
    }

    fn range<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Row>> {
        let from = match start_after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        self.rows
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _row)| key.starts_with(prefix))
            .map(|(_key, row)| row)
    }

    pub(crate) fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Listing {
        page(self.revision, self.range(prefix, start_after).cloned(), limit)
    }

    pub(crate) fn list_at(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: usize,
        asked: u64,
    ) -> Result<Listing, ListError> {
        if asked > self.revision {
            let latest = self.revision;
            return Err(ListError::Future { asked, latest });
        }
        let oldest = self.oldest;
        let position = self.position_after(asked);
        let later = (asked >= oldest).then(|| self.events_from(position)).flatten();
        let Some(later) = later else {
            return Err(ListError::Compacted { asked, oldest });
        };
        // The first event on a key after the asked revision knows how the key was then.
        let mut undone: BTreeMap<&str, Option<&Arc<Row>>> = BTreeMap::new();
        for event in later {
            let key = &*event.after.key;
            if key.starts_with(prefix) && start_after.is_none_or(|start| key > start) {
                undone.entry(key).or_insert(event.before.as_ref());
            }
        }
        if undone.is_empty() {
            let rows = self.range(prefix, start_after).cloned();
            return Ok(page(asked, rows, limit));
        }
        let mut rows: BTreeMap<&str, &Arc<Row>> =
            self.range(prefix, start_after).map(|row| (&*row.key, row)).collect();
        for (key, before) in undone {
            match before {
                Some(row) => rows.insert(key, row),
                None => rows.remove(key),
            };
        }
        Ok(page(asked, rows.into_values().cloned(), limit))
    }
}

fn page(revision: u64, mut rows: impl Iterator<Item = Arc<Row>>, limit: usize) -> Listing {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let taken = rows.by_ref().take(limit).collect();
    Listing { revision, rows: taken, remaining: rows.count() as u64 }
}
