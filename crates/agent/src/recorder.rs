//! Events as upstream's recorder writes them: a repeated one is counted, not written anew.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Event, EventSource, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;

use crate::clock::Clock;

/// Most events that wait to be written; more are dropped, with a warning. Source: client-go's
/// broadcaster queue.
const QUEUE_MAX: usize = 1000;
/// Most events remembered for counting. Source: client-go `maxLruCacheEntries`.
const REMEMBERED_MAX: usize = 4096;
/// An event older than this is written anew, seconds. Source: client-go
/// `defaultAggregateIntervalInSeconds`.
const REMEMBERED_S: i64 = 600;

/// Takes events from everywhere and writes them one after another.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<Noted>,
    clock: Clock,
}

#[derive(Debug)]
struct Noted {
    about: ObjectReference,
    event: podsync::plan::Event,
    /// Who signs it.
    component: &'static str,
    at: jiff::Timestamp,
}

impl Recorder {
    /// A recorder, and the loop that writes; it ends when all recorders are gone.
    pub(crate) fn new(
        client: kube::Client,
        node: String,
        clock: Clock,
    ) -> (Recorder, impl Future<Output = ()>) {
        let (queue, mut notes) = mpsc::channel::<Noted>(QUEUE_MAX);
        let run = async move {
            let mut known: BTreeMap<String, Known> = BTreeMap::new();
            while let Some(noted) = notes.recv().await {
                write(&client, &node, noted, &mut known).await;
            }
        };
        (Recorder { queue, clock }, run)
    }

    /// Notes an event about a pod.
    pub(crate) fn note(&self, pod: &Pod, event: podsync::plan::Event) {
        let meta = &pod.metadata;
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: Some(event.field_path.clone()).filter(|path| !path.is_empty()),
        };
        self.send(about, event);
    }

    /// Notes an event about this node.
    pub(crate) fn note_node(&self, node: &str, event: podsync::plan::Event) {
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        };
        self.send(about, event);
    }

    /// Notes an event about a volume, as the controller that upstream has do it.
    pub(crate) fn note_volume(&self, volume: &PersistentVolume, event: podsync::plan::Event) {
        let meta = &volume.metadata;
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolume".to_owned()),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            ..ObjectReference::default()
        };
        let component = "persistentvolume-controller";
        self.queue(Noted { about, event, component, at: self.clock.now() });
    }

    /// Notes an event about a claim.
    pub(crate) fn note_claim(&self, claim: &PersistentVolumeClaim, event: podsync::plan::Event) {
        let meta = &claim.metadata;
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolumeClaim".to_owned()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            ..ObjectReference::default()
        };
        self.send(about, event);
    }

    fn send(&self, about: ObjectReference, event: podsync::plan::Event) {
        self.queue(Noted { about, event, component: "kubelet", at: self.clock.now() });
    }

    fn queue(&self, noted: Noted) {
        if let Err(error) = self.queue.try_send(noted) {
            tracing::warn!(%error, "an event was dropped: the API server takes them too slowly");
        }
    }
}

#[derive(Debug)]
struct Known {
    namespace: String,
    name: String,
    count: i32,
    last: jiff::Timestamp,
}

async fn write(
    client: &kube::Client,
    node: &str,
    noted: Noted,
    known: &mut BTreeMap<String, Known>,
) {
    let namespace = noted.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let key = format!(
        "{namespace}/{:?}/{:?}/{}/{}/{}/{}",
        noted.about.uid,
        noted.about.field_path,
        noted.about.name.as_deref().unwrap_or(""),
        noted.event.kind,
        noted.event.reason,
        noted.event.message
    );
    known.retain(|_, seen| noted.at.duration_since(seen.last).as_secs() < REMEMBERED_S);
    if let Some(seen) = known.get_mut(&key) {
        let count = seen.count + 1;
        let last = Time(noted.at);
        let body = json!({"count": count, "lastTimestamp": last});
        match api.patch(&seen.name, &PatchParams::default(), &Patch::Merge(body)).await {
            Ok(_) => {
                seen.count = count;
                seen.last = noted.at;
                return;
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                known.remove(&key);
            }
            Err(error) => {
                tracing::warn!(%error, name = seen.name, namespace = seen.namespace, "an event was not counted");
                return;
            }
        }
    }
    let about = noted.about.name.clone().unwrap_or_default();
    let name = format!("{about}.{:x}", noted.at.as_nanosecond());
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: noted.about,
        reason: Some(noted.event.reason.to_owned()),
        message: Some(noted.event.message),
        type_: Some(noted.event.kind.to_owned()),
        count: Some(1),
        first_timestamp: Some(Time(noted.at)),
        last_timestamp: Some(Time(noted.at)),
        source: Some(EventSource {
            component: Some(noted.component.to_owned()),
            host: Some(node.to_owned()),
        }),
        reporting_component: Some(noted.component.to_owned()),
        reporting_instance: Some(node.to_owned()),
        ..Event::default()
    };
    match api.create(&PostParams::default(), &event).await {
        Ok(_) => {
            if known.len() >= REMEMBERED_MAX {
                let oldest = known.iter().min_by_key(|(_, seen)| seen.last).map(|(k, _)| k.clone());
                oldest.and_then(|oldest| known.remove(&oldest));
            }
            known.insert(key, Known { namespace, name, count: 1, last: noted.at });
        }
        Err(error) => tracing::warn!(%error, name, namespace, "an event was not written"),
    }
}
