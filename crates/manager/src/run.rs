//! The loop of one controller: takes keys, decides, carries out, waits until it shows.

use std::{sync::Arc, time::Duration};

use client::{Key, Recorder, Writer};
use controllers::Plan;
use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    caches::Caches,
    carry_out::{Carried, Hands},
    controller::{Control, Failed},
    queue::Queue,
};

/// A look-again that lies in the past is not repeated faster than this.
const LOOK_AGAIN_LEAST: Duration = Duration::from_millis(10);

/// The decisions about one key take one part in so many of the time at the most: what changes
/// meanwhile is decided about together. Else a set of a thousand pods, each of whose changes wakes
/// it, would be counted anew a thousand times.
const DECISIONS_SHARE: u32 = 4;
/// However long a decision took, the next one comes after this.
const REST_MAX: Duration = Duration::from_millis(100);

/// Everything one controller's turns share.
pub(crate) struct Room {
    pub(crate) control: Arc<dyn Control>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) caches: Arc<Caches>,
    pub(crate) writer: Writer,
    pub(crate) recorder: Recorder,
    pub(crate) now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub(crate) workers: usize,
}

/// Runs until told to stop; then finishes the turns that are under way.
pub(crate) async fn run(room: Arc<Room>, mut stop: watch::Receiver<bool>) {
    let workers = Arc::new(Semaphore::new(room.workers));
    let mut turns = JoinSet::new();
    let name = room.control.name();
    let stopped = stop.clone();
    for (_, cache) in room.caches.all() {
        tokio::select! {
            biased;
            () = cache.synced() => (),
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
    tracing::info!(controller = name, "runs");
    loop {
        let next = async {
            let worker = Arc::clone(&workers).acquire_owned().await;
            (worker, room.queue.next().await)
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = turns.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(controller = name, %error, "a turn broke off");
                }
            }
            (worker, key) = next => {
                let Ok(worker) = worker else { break };
                turns.spawn(turn(Arc::clone(&room), key, worker, stopped.clone()));
            }
        }
    }
    while let Some(ended) = turns.join_next().await {
        if let Err(error) = ended {
            tracing::error!(controller = name, %error, "a turn broke off");
        }
    }
    tracing::info!(controller = name, "has stopped");
}

/// Gives the key back whatever happens; a turn that broke off counts as failed.
struct Held<'a> {
    queue: &'a Queue,
    key: &'a Key,
    ended: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.queue.failed(self.key);
        }
        self.queue.done(self.key);
    }
}

async fn turn(
    room: Arc<Room>,
    key: Key,
    worker: OwnedSemaphorePermit,
    mut stop: watch::Receiver<bool>,
) {
    let mut held = Held { queue: &room.queue, key: &key, ended: false };
    let began = Instant::now();
    let Some(plan) = room.control.decide(&key, &room.caches, (room.now)()) else {
        room.queue.succeeded(&key);
        held.ended = true;
        return;
    };
    let rested = began + (began.elapsed() * DECISIONS_SHARE).min(REST_MAX);
    say(room.control.name(), &key, &plan);
    let hands = Hands { writer: &room.writer, recorder: &room.recorder, caches: &room.caches };
    let carried = hands.carry_out(&plan).await;
    let failed = carried
        .failure
        .as_ref()
        .map(|(_, failure)| Failed { error: failure.to_string(), race: failure.is_race() });
    room.control.carried_out(&key, &plan, failed.as_ref());
    // The worker is free for other keys; this one waits until its own writes show.
    drop(worker);
    let Carried { expectations, failure } = carried;
    for (cache, expectation) in &expectations {
        tokio::select! {
            biased;
            () = cache.seen(expectation) => (),
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    if rested > Instant::now() {
        tokio::select! {
            biased;
            () = sleep_until(rested) => (),
            _ = stop.wait_for(|stop| *stop) => (),
        }
    }
    held.ended = true;
    match failure {
        None => {
            room.queue.succeeded(&key);
            if let Some(at) = plan.look_again {
                room.queue.add_after(key.clone(), until(at, (room.now)()));
            }
        }
        Some((why, failure)) => {
            let wait = room.queue.failed(&key);
            let controller = room.control.name();
            let error = error_chain(&failure);
            if failure.is_race() {
                tracing::debug!(controller, %key, why, error, ?wait, "planned anew");
            } else {
                tracing::warn!(controller, %key, why, error, ?wait, "a write failed");
            }
        }
    }
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
    wait.max(LOOK_AGAIN_LEAST)
}

fn say(controller: &str, key: &Key, plan: &Plan) {
    for action in &plan.actions {
        tracing::info!(controller, %key, why = action.why, "acts");
    }
    for wait in &plan.waits {
        tracing::debug!(controller, %key, "waits {wait}");
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
