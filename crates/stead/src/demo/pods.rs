//! What a watch of the set's pods has told, in the order of the store's commits.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use anyhow::{Context as _, Result, bail};
use api::k8s::api::core::v1::{Pod, PodCondition};
use client::kube::{
    Api, Client,
    api::{ListParams, WatchEvent, WatchParams},
};
use futures::{StreamExt as _, stream::BoxStream};

/// The set's pods carry this label.
const LABEL: &str = "app=web";

/// What can happen to a pod that the promises of a StatefulSet speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A pod of this name was made, with a uid of its own.
    Made,
    /// It became Ready.
    Ready,
    /// It was asked to end.
    Ending,
    /// It is no more.
    Gone,
}

/// Something happened to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) name: String,
    pub(super) what: What,
}

impl Moment {
    pub(super) fn new(name: &str, what: What) -> Self {
        Self { name: name.to_owned(), what }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Made => "made",
            What::Ready => "Ready",
            What::Ending => "ending",
            What::Gone => "gone",
        };
        write!(f, "{} {what}", self.name)
    }
}

/// The pods of the set as the last event left them.
pub(super) struct Pods {
    api: Api<Pod>,
    version: String,
    events: BoxStream<'static, client::kube::Result<WatchEvent<Pod>>>,
    now: BTreeMap<String, Pod>,
}

impl Pods {
    /// Watches from now on; there are no pods yet.
    pub(super) async fn watch(client: &Client) -> Result<Self> {
        let api = Api::<Pod>::default_namespaced(client.clone());
        let list = api.list_metadata(&ListParams::default().labels(LABEL)).await?;
        let version = list.metadata.resource_version.context("a list without a version")?;
        let events = open(&api, &version).await?;
        Ok(Self { api, version, events, now: BTreeMap::new() })
    }

    /// The pod of this name, if there is one.
    pub(super) fn get(&self, name: &str) -> Option<&Pod> {
        self.now.get(name)
    }

    /// Waits for the next event; tells what it means, which may be nothing.
    pub(super) async fn next(&mut self) -> Result<Vec<Moment>> {
        let Some(event) = self.events.next().await else {
            // The server ends a watch after some minutes; the next one goes on where it ended.
            self.events = open(&self.api, &self.version).await?;
            return Ok(Vec::new());
        };
        match event? {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => Ok(self.saw(pod)),
            WatchEvent::Deleted(pod) => {
                self.note(pod.metadata.resource_version.as_ref());
                let name = pod.metadata.name.unwrap_or_default();
                self.now.remove(&name);
                Ok(vec![Moment::new(&name, What::Gone)])
            }
            WatchEvent::Bookmark(mark) => {
                self.note(Some(&mark.metadata.resource_version));
                Ok(Vec::new())
            }
            WatchEvent::Error(status) => bail!("the watch of the pods broke: {}", status.message),
        }
    }

    fn saw(&mut self, pod: Pod) -> Vec<Moment> {
        self.note(pod.metadata.resource_version.as_ref());
        let name = pod.metadata.name.clone().unwrap_or_default();
        let told = moments(self.now.get(&name), &pod);
        self.now.insert(name.clone(), pod);
        told.into_iter().map(|what| Moment::new(&name, what)).collect()
    }

    fn note(&mut self, version: Option<&String>) {
        if let Some(version) = version {
            version.clone_into(&mut self.version);
        }
    }
}

async fn open(
    api: &Api<Pod>,
    version: &str,
) -> Result<BoxStream<'static, client::kube::Result<WatchEvent<Pod>>>> {
    let watched = api.watch(&WatchParams::default().labels(LABEL), version).await?;
    Ok(watched.boxed())
}

/// What happened between two states of the pod of one name.
fn moments(before: Option<&Pod>, after: &Pod) -> Vec<What> {
    let before = before.filter(|before| before.metadata.uid == after.metadata.uid);
    let mut told = Vec::new();
    if before.is_none() {
        told.push(What::Made);
    }
    if is_ready(after) && !before.is_some_and(is_ready) {
        told.push(What::Ready);
    }
    let is_ending = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
    if is_ending(after) && !before.is_some_and(is_ending) {
        told.push(What::Ending);
    }
    told
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// A pod's address, once it has one.
pub(super) fn address(pod: &Pod) -> Option<Ipv4Addr> {
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

/// What a pod that is not Ready waits for, by its own status.
pub(super) fn waits_for(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "waits for its program to end".to_owned();
    }
    let scheduled = condition(pod, "PodScheduled");
    if scheduled.is_none_or(|scheduled| scheduled.status != "True") {
        let why = scheduled.and_then(|scheduled| scheduled.message.as_deref());
        let what = "waits for a node and for its volume";
        return why.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}"));
    }
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let state = statuses.and_then(|all| all.first()).and_then(|first| first.state.as_ref());
    let Some(state) = state else { return "waits for its container".to_owned() };
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let why = waiting.message.as_deref().unwrap_or_default();
        return format!("waits for its container: {reason} {why}").trim_end().to_owned();
    }
    if let Some(ended) = &state.terminated {
        return format!("waits for a restart: its program ended with {}", ended.exit_code);
    }
    "runs, and waits for its probe to succeed".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, ready: &str, ending: bool) -> Pod {
        let deletion = ending.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "metadata": {"name": "web-0", "uid": uid, "deletionTimestamp": deletion},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    #[test]
    fn two_states_tell_what_happened() {
        use What::{Ending, Made, Ready};
        let fresh = || pod("a", "False", false);
        let ready = || pod("a", "True", false);
        for (before, after, told) in [
            (None, fresh(), vec![Made]),
            (Some(fresh()), fresh(), vec![]),
            (Some(fresh()), ready(), vec![Ready]),
            (Some(ready()), ready(), vec![]),
            (Some(ready()), pod("a", "True", true), vec![Ending]),
            (Some(pod("a", "True", true)), pod("a", "False", true), vec![]),
            (Some(ready()), pod("b", "False", false), vec![Made]),
            (None, ready(), vec![Made, Ready]),
        ] {
            assert_eq!(moments(before.as_ref(), &after), told, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_pod_says_what_it_waits_for() {
        let scheduled = json!([{"type": "PodScheduled", "status": "True"}]);
        for (status, said) in [
            (json!({}), "waits for a node and for its volume"),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no"}]}),
                "waits for a node and for its volume: no",
            ),
            (json!({"conditions": scheduled}), "waits for its container"),
            (
                json!({"conditions": scheduled, "containerStatuses": [
                    {"state": {"waiting": {"reason": "ContainerCreating"}}}]}),
                "waits for its container: ContainerCreating",
            ),
            (
                json!({"conditions": scheduled, "containerStatuses": [{"state": {"running": {}}}]}),
                "runs, and waits for its probe to succeed",
            ),
            (
                json!({"conditions": scheduled, "containerStatuses": [
                    {"state": {"terminated": {"exitCode": 3}}}]}),
                "waits for a restart: its program ended with 3",
            ),
        ] {
            let pod = serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap();
            assert_eq!(waits_for(&pod), said);
        }
        assert_eq!(waits_for(&pod("a", "True", true)), "waits for its program to end");
    }
}
