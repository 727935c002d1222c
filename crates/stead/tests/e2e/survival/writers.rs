//! Writers that remember what was acknowledged.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{task::JoinSet, time::MissedTickBehavior};

/// Writers side by side.
const WRITERS: usize = 16;
/// Between two writes of one writer.
const PACE: Duration = Duration::from_millis(25);
/// Writes to one object before the next is made.
const WRITES_PER_OBJECT: u64 = 20;

/// What an object may hold: one of the numbers from the last acknowledged to the last sent.
#[derive(Debug, Clone, Copy, Default)]
struct Range {
    acknowledged: Option<u64>,
    sent: u64,
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    objects: BTreeMap<String, Range>,
    /// How many writes were acknowledged.
    pub(super) acknowledged: u64,
}

/// Running writers.
pub(super) struct Writers {
    written: Arc<Mutex<Written>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Writers {
    pub(super) fn start(client: &Client) -> Self {
        let (written, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        for number in 0..WRITERS {
            let writer = Writer {
                number,
                maps: Api::default_namespaced(client.clone()),
                written: Arc::clone(&written),
            };
            tasks.spawn(writer.run(Arc::clone(&stop)));
        }
        Self { written, stop, tasks }
    }

    /// Reads one object back, chosen by a number.
    pub(super) async fn check_sample(&self, client: &Client, choice: u64) {
        let chosen = {
            let written = self.written.lock().unwrap();
            let known: Vec<_> =
                written.objects.iter().filter(|(_, r)| r.acknowledged.is_some()).collect();
            let Some(count) = u64::try_from(known.len()).ok().filter(|count| *count > 0) else {
                return;
            };
            let (name, range) = known[usize::try_from(choice % count).unwrap()];
            (name.clone(), *range)
        };
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let map = maps.get(&chosen.0).await.expect("an acknowledged object is there");
        let held = number_of(&map);
        assert!(
            held >= chosen.1.acknowledged,
            "{} lost a write: {held:?}, {:?}",
            chosen.0,
            chosen.1
        );
    }

    pub(super) async fn stop(mut self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.written.lock().unwrap())
    }
}

impl Written {
    /// Reads everything back.
    pub(super) async fn check_all(&self, client: &Client) {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let ours = ListParams::default().labels("made-by=writer");
        let found: BTreeMap<String, Option<u64>> = maps
            .list(&ours)
            .await
            .unwrap()
            .iter()
            .map(|map| (map.name_any(), number_of(map)))
            .collect();
        for (name, range) in &self.objects {
            let held = found.get(name).copied().flatten();
            let fine = held >= range.acknowledged && held.is_none_or(|held| held <= range.sent);
            assert!(fine, "{name} holds {held:?}, and was written {range:?}");
        }
    }
}

fn number_of(map: &ConfigMap) -> Option<u64> {
    map.data.as_ref()?.get("number")?.parse().ok()
}

struct Writer {
    number: usize,
    maps: Api<ConfigMap>,
    written: Arc<Mutex<Written>>,
}

impl Writer {
    /// Writes until it is stopped; a write that failed is made again with the next number.
    async fn run(self, stop: Arc<AtomicBool>) {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut number, mut object, mut exists) = (0_u64, 0, false);
        while !stop.load(Ordering::Relaxed) {
            pace.tick().await;
            number += 1;
            if number.is_multiple_of(WRITES_PER_OBJECT) && exists {
                (object, exists) = (object + 1, false);
            }
            let name = format!("map-{}-{object}", self.number);
            self.written.lock().unwrap().objects.entry(name.clone()).or_default().sent = number;
            match self.write(&name, number, exists).await {
                Ok(()) => {
                    exists = true;
                    let mut written = self.written.lock().unwrap();
                    written.acknowledged += 1;
                    written.objects.entry(name).or_default().acknowledged = Some(number);
                }
                // Made by a write whose acknowledgement was lost with the server.
                Err(kube::Error::Api(status)) if status.code == 409 && !exists => exists = true,
                Err(kube::Error::Api(status)) if status.code < 500 => {
                    panic!("a write was refused: {status:?}")
                }
                Err(_) => {}
            }
        }
    }

    async fn write(&self, name: &str, number: u64, exists: bool) -> kube::Result<()> {
        let content = json!({"data": {"number": number.to_string()}});
        if exists {
            let patch = Patch::Merge(content);
            return self.maps.patch(name, &PatchParams::default(), &patch).await.map(drop);
        }
        let mut map: ConfigMap = serde_json::from_value(content).unwrap_or_default();
        map.metadata.name = Some(name.to_owned());
        map.labels_mut().insert("made-by".to_owned(), "writer".to_owned());
        self.maps.create(&PostParams::default(), &map).await.map(drop)
    }
}
