//! What the node tells about pods, volumes and itself.

use std::sync::Arc;

use api::object::reference;
use client::{Told, Writer};
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use podsync::plan::Event;

use crate::clock::Clock;

/// Takes events from everywhere; they are written one after another, by a task of their own.
#[derive(Debug, Clone)]
pub(crate) struct Recorder(client::Recorder);

impl Recorder {
    /// A recorder, and the loop that writes; it ends when all recorders are gone.
    pub(crate) fn new(
        client: kube::Client,
        node: &str,
        clock: Clock,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let writer = Writer::new(client, "kubelet");
        let now = Arc::new(move || clock.now());
        let (recorder, run) = client::Recorder::new("kubelet", node, writer, now);
        (Self(recorder), run)
    }

    /// Notes an event about a pod.
    pub(crate) fn note(&self, pod: &Pod, event: Event) {
        let field_path = Some(event.field_path.clone()).filter(|path| !path.is_empty());
        tell(&self.0, ObjectReference { field_path, ..reference(pod) }, event);
    }

    /// Notes an event about this node, whose uid is its name here. Source: kubernetes v1.36
    /// `pkg/kubelet/kubelet.go`, `nodeRef`.
    pub(crate) fn note_node(&self, node: &str, event: Event) {
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        };
        tell(&self.0, about, event);
    }

    /// Notes an event about a volume, as the controller that upstream has do it.
    pub(crate) fn note_volume(&self, volume: &PersistentVolume, event: Event) {
        tell(&self.0.of("persistentvolume-controller"), reference(volume), event);
    }

    /// Notes an event about a claim.
    pub(crate) fn note_claim(&self, claim: &PersistentVolumeClaim, event: Event) {
        tell(&self.0, reference(claim), event);
    }
}

fn tell(recorder: &client::Recorder, about: ObjectReference, event: Event) {
    let Event { kind, reason, message, .. } = event;
    recorder.tell(Told { about, warning: kind == "Warning", reason, message });
}
