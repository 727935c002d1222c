//! Events live an hour after their last write; then the server deletes them.
//!
//! ```text
//! store's events ──▶ Expiry (when, key, version) ──▶ delete at that version, else forget
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
};

use api::{k8s::api::core::v1::Event, resource};
use jiff::Timestamp;
use store::{Change, CommitError, Event as Seen, Expect, Op, Row, WatchError};
use tokio::time::{Duration, sleep};

use crate::{codec, server::ApiServer};

/// Upstream's `--event-ttl`.
const EVENT_TTL_S: i64 = 3600;
/// How many changes of Events are taken at once.
const BATCH: usize = 256;
/// The longest sleep: the wall clock may be set.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// When which row goes.
#[derive(Debug, Default)]
struct Expiry {
    rows: BTreeMap<Arc<str>, (i64, u64)>,
    times: BTreeSet<(i64, Arc<str>)>,
}

impl Expiry {
    fn set(&mut self, key: Arc<str>, at_s: i64, revision: u64) {
        self.forget(&key);
        self.times.insert((at_s, key.clone()));
        self.rows.insert(key, (at_s, revision));
    }

    fn forget(&mut self, key: &Arc<str>) {
        if let Some((at_s, _)) = self.rows.remove(key) {
            self.times.remove(&(at_s, key.clone()));
        }
    }

    fn next(&self) -> Option<i64> {
        self.times.first().map(|(at_s, _)| *at_s)
    }

    fn pop(&mut self, now_s: i64) -> Option<(Arc<str>, u64)> {
        let (at_s, key) = self.times.first().cloned()?;
        if at_s > now_s {
            return None;
        }
        let revision = self.rows.get(&key).map_or(0, |(_, revision)| *revision);
        self.forget(&key);
        Some((key, revision))
    }
}

impl ApiServer {
    /// What the server does by itself, until `shutdown` completes or the store closes: deletes
    /// Events that have had their time, and keeps the Service `kubernetes`.
    pub async fn background(&self, shutdown: impl Future<Output = ()> + Send) {
        tokio::select! {
            biased;
            () = shutdown => {}
            ((), ()) = async { tokio::join!(self.sweep_on(), self.guard_own_service()) } => {}
        }
    }

    /// A sweep that falls behind the store's window begins anew.
    async fn sweep_on(&self) {
        while self.sweep().await == Err(Behind) {}
    }

    async fn sweep(&self) -> Result<(), Behind> {
        let prefix = resource::of::<Event>().prefix();
        let listing = self.store().list(&prefix, None, 0);
        let mut expiry = Expiry::default();
        for row in &listing.rows {
            expiry.set(row.key.clone(), written_s(row) + EVENT_TTL_S, row.revision);
        }
        let Ok(mut cursor) = self.store().watch(&prefix, listing.revision) else {
            return Err(Behind);
        };
        loop {
            let now_s = self.ambient().now().as_second();
            while let Some((key, revision)) = expiry.pop(now_s) {
                self.expire(&key, revision).await;
            }
            let wait = expiry.next().map(|at_s| u64::try_from(at_s - now_s).unwrap_or(0));
            let wait = wait.map(|seconds| Duration::from_secs(seconds).min(SLEEP_MAX));
            let events = tokio::select! {
                biased;
                events = cursor.next_batch(BATCH) => events,
                () = maybe_sleep(wait) => continue,
            };
            match events {
                Ok(events) => {
                    let at_s = self.ambient().now().as_second() + EVENT_TTL_S;
                    events.iter().for_each(|event| note(&mut expiry, event, at_s));
                }
                Err(WatchError::Compacted { .. }) => return Err(Behind),
                Err(WatchError::Closed) => return Ok(()),
            }
        }
    }

    async fn expire(&self, key: &Arc<str>, revision: u64) {
        let Some(row) = self.store().get(key).filter(|row| row.revision == revision) else {
            return;
        };
        let op = codec::stamp_of(&row.value).map(|value| Op {
            key: key.to_string(),
            expect: Expect::At(revision),
            change: Change::Delete { value },
        });
        let done = match op {
            Ok(op) => self.commit(vec![op]).await,
            Err(error) => return tracing::error!(%error, key = &**key, "an Event stays"),
        };
        match done {
            // Somebody wrote it meanwhile: its time begins anew.
            Ok(_) | Err(CommitError::Refused { .. }) => {}
            Err(error) => tracing::warn!(%error, key = &**key, "an old Event could not be deleted"),
        }
    }
}

/// The sweep missed something and must look at everything again.
#[derive(Debug, PartialEq, Eq)]
struct Behind;

async fn maybe_sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => sleep(wait).await,
        None => std::future::pending().await,
    }
}

fn note(expiry: &mut Expiry, event: &Seen, at_s: i64) {
    let key = event.after.key.clone();
    if event.deleted {
        expiry.forget(&key);
    } else {
        expiry.set(key, at_s, event.revision);
    }
}

/// About when an Event was written last; the epoch for one that cannot be read.
fn written_s(row: &Row) -> i64 {
    let Ok(object) = codec::decode(resource::of::<Event>(), &row.value) else { return 0 };
    let Some(event) = object.as_any().downcast_ref::<Event>() else { return 0 };
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let times: [Option<Timestamp>; 4] = [
        series.map(|time| time.0),
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event.metadata.creation_timestamp.as_ref().map(|time| time.0),
    ];
    times.into_iter().flatten().map(Timestamp::as_second).max().unwrap_or(0)
}
