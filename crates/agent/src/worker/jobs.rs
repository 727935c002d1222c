//! What takes long: each runs beside the worker and says what came of it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use host::runtime::RuntimeError;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, PodStatus};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use podsync::{
    Observed,
    config::ContainerWish,
    events::{self, normal, warning},
    observed::ImageSeen,
    restart::BackOff,
};
use serde_json::{Value, json};

use crate::{
    folders, hook, pull,
    shared::{Shared, chain},
    volumes::{self, Mounted, Tokens, Volumes},
    wire,
};

/// Seconds between SIGTERM and SIGKILL even if preStop took all the grace. Source: kubelet
/// v1.36 `minimumGracePeriodInSeconds`.
const GRACE_MIN_S: u64 = 2;
/// A job that failed ends this much later: the worker begins it anew as soon as it has ended.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The same for the removal of an exited container, for which nobody waits.
const REMOVE_AGAIN: Duration = Duration::from_secs(10);

/// Why a write has to be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// Someone else has written: decide anew on what they wrote.
    Conflict,
    /// The server refused or did not answer; the log says why.
    Failed,
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Done {
    /// The next look shows it.
    Nothing,
    /// A write's answer; `Err`: try again later, the reason is logged.
    Written(Result<Option<Box<Pod>>, Unwritten>),
    Pulled(String, ImageSeen),
    Mounted(Volumes),
    Refreshed(Volumes),
    Unmounted(bool),
    PodRun(Result<(), String>),
    Started {
        name: String,
        attempt: u32,
        back_off: BackOff,
        /// Reason and message.
        failure: Option<(String, String)>,
    },
}

fn uid_of(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

/// The pod's address: its own, or the node's where it shares the node's network.
pub(super) fn address(shared: &Shared, pod: &Pod) -> Option<IpAddr> {
    if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
        return shared.config.addresses.first().copied();
    }
    shared.states.get(&uid_of(pod))?.addresses.first().copied()
}

pub(super) async fn run_pod(shared: Arc<Shared>, pod: Arc<Pod>, attempt: u32) -> Done {
    let config = wire::pod_config(&pod, attempt, &shared.config);
    let made = shared.runtime.run_pod(config).await;
    Done::PodRun(made.map(|state| shared.states.put(state)).map_err(|error| chain(&error)))
}

/// Hosts, host name and resolv.conf, for the pod's address as it is now.
async fn write_pod_files(shared: &Arc<Shared>, pod: &Arc<Pod>) -> Result<(), String> {
    let own = shared.states.get(&uid_of(pod)).map(|state| state.addresses);
    let addresses =
        own.filter(|own| !own.is_empty()).unwrap_or_else(|| shared.config.addresses.clone());
    let (shared, pod) = (Arc::clone(shared), Arc::clone(pod));
    let written = crate::blocking::blocking(move || {
        folders::write_pod_files(&pod, &addresses, &shared.config)
    });
    let written = written.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    written.map_err(|error| format!("the pod's hosts file: {error}"))
}

pub(super) async fn pull(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    container: String,
    wish: pull::Wish,
) -> Done {
    let seen = pull::pull(&shared, &pod, wish).await;
    Done::Pulled(container, seen)
}

pub(super) async fn mount(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    seen: Observed,
    tokens: Tokens,
) -> Done {
    Done::Mounted(volumes::mount(&shared, &pod, &seen, tokens).await)
}

pub(super) async fn refresh(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    seen: Observed,
    tokens: Tokens,
) -> Done {
    Done::Refreshed(volumes::mount(&shared, &pod, &seen, tokens).await)
}

pub(super) async fn unmount(shared: Arc<Shared>, uid: String) -> Done {
    let result = volumes::unmount(&shared.config, &uid).await;
    if let Err(error) = &result {
        tracing::warn!(%error, uid, "a pod's volumes were not all unmounted");
        tokio::time::sleep(TRY_AGAIN).await;
    }
    Done::Unmounted(result.is_ok())
}

pub(super) async fn start(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    wish: ContainerWish,
    mounted: BTreeMap<String, Mounted>,
) -> Done {
    let failure = match try_start(&shared, &pod, &wish, &mounted).await {
        Ok(()) => None,
        Err((reason, message)) => {
            if reason != "PostStartHookError" {
                let event = warning("Failed", &wish.field_path, format!("Error: {message}"));
                shared.recorder.note(&pod, event);
            }
            Some((reason.to_owned(), message))
        }
    };
    let ContainerWish { name, attempt, back_off, .. } = wish;
    Done::Started { name, attempt, back_off, failure }
}

async fn try_start(
    shared: &Arc<Shared>,
    pod: &Arc<Pod>,
    wish: &ContainerWish,
    mounted: &BTreeMap<String, Mounted>,
) -> Result<(), (&'static str, String)> {
    let uid = uid_of(pod);
    // Here and not with the sandbox: an agent that ended between the two left none.
    let written = write_pod_files(shared, pod).await;
    written.map_err(|why| ("CreateContainerConfigError", why))?;
    let (mounts, devices) = volumes::mounts(&shared.config, &uid, wish, mounted)
        .await
        .map_err(|why| ("CreateContainerConfigError", why))?;
    let config = wire::container_config(wish, mounts, devices, &shared.config);
    let state = match shared.runtime.start_container(&uid, config).await {
        Ok(state) => state,
        Err(error) => {
            let reason = match &error {
                RuntimeError::Start(_) => "RunContainerError",
                RuntimeError::Config(_) => "CreateContainerConfigError",
                _ => "CreateContainerError",
            };
            if reason == "RunContainerError" {
                shared.recorder.note(pod, events::created(&wish.field_path));
            }
            shared.observe().await;
            return Err((reason, chain(&error)));
        }
    };
    let id = state.id.clone();
    shared.states.put_container(&uid, state);
    shared.recorder.note(pod, events::created(&wish.field_path));
    shared.recorder.note(pod, events::started(&wish.field_path));
    let Some(after) = &wish.post_start else { return Ok(()) };
    let ports = container(pod, &wish.name).and_then(|c| c.ports.clone()).unwrap_or_default();
    let address = address(shared, pod);
    let ran = hook::run(shared.runtime.as_ref(), (&uid, &id), after, address, &ports).await;
    ran.map_err(|why| {
        tracing::warn!(container = wish.name, %why, "a postStart hook failed");
        let event =
            warning("FailedPostStartHook", &wish.field_path, "PostStartHook failed".to_owned());
        shared.recorder.note(pod, event);
        ("PostStartHookError", why)
    })
}

fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    let init = spec.init_containers.iter().flatten();
    spec.containers.iter().chain(init).find(|container| container.name == name)
}

/// A container to stop.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) field_path: String,
    pub(super) pre_stop: Option<LifecycleHandler>,
    pub(super) grace_s: u64,
    pub(super) signal: Option<i32>,
    pub(super) why: Option<String>,
}

pub(super) async fn stop(shared: Arc<Shared>, pod: Arc<Pod>, stop: Stop) -> Done {
    let uid = uid_of(&pod);
    let again = stop.why.is_none();
    if let Some(why) = stop.why {
        shared.recorder.note(&pod, normal("Killing", &stop.field_path, why));
    }
    let began = tokio::time::Instant::now();
    if let Some(before) = stop.pre_stop.filter(|_| stop.grace_s > 0 && !again) {
        let ports = container(&pod, &stop.name).and_then(|c| c.ports.clone()).unwrap_or_default();
        let place = (uid.as_str(), stop.id.as_str());
        let address = address(&shared, &pod);
        let run = hook::run(shared.runtime.as_ref(), place, &before, address, &ports);
        match tokio::time::timeout(Duration::from_secs(stop.grace_s), run).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => {
                tracing::warn!(container = stop.name, %why, "a preStop hook failed");
                let text = "PreStopHook failed".to_owned();
                let event = warning("FailedPreStopHook", &stop.field_path, text);
                shared.recorder.note(&pod, event);
            }
            Err(_) => tracing::warn!(container = stop.name, "a preStop hook took all the grace"),
        }
    }
    let left_s = match stop.grace_s {
        0 => 0,
        grace_s => grace_s.saturating_sub(began.elapsed().as_secs()).max(GRACE_MIN_S.min(grace_s)),
    };
    match shared.runtime.stop_container(&uid, &stop.id, stop.signal, left_s).await {
        Ok(()) | Err(RuntimeError::NotRunning(_) | RuntimeError::NoContainer(_)) => {}
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(container = stop.name, error, "a container could not be stopped");
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
    shared.observe().await;
    Done::Nothing
}

pub(super) async fn remove_container(shared: Arc<Shared>, uid: String, id: String) -> Done {
    match shared.runtime.remove_container(&uid, &id).await {
        Ok(()) | Err(RuntimeError::NoContainer(_) | RuntimeError::NoPod(_)) => {}
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(id, error, "an exited container could not be removed");
            tokio::time::sleep(REMOVE_AGAIN).await;
        }
    }
    shared.observe().await;
    Done::Nothing
}

pub(super) async fn stop_pod(shared: Arc<Shared>, uid: String) -> Done {
    match shared.runtime.stop_pod(&uid).await {
        Ok(()) | Err(RuntimeError::NoPod(_)) => {}
        Err(error) => {
            tracing::warn!(uid, error = chain(&error), "a pod could not be stopped");
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
    shared.observe().await;
    Done::Nothing
}

pub(super) async fn remove_pod(shared: Arc<Shared>, uid: String) -> Done {
    match shared.runtime.remove_pod(&uid).await {
        Ok(()) | Err(RuntimeError::NoPod(_)) => shared.states.forget(&uid),
        Err(error) => {
            tracing::warn!(uid, error = chain(&error), "a pod's record could not be removed");
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
    Done::Nothing
}

/// Replaces the status that was seen; refused if someone else has written meanwhile.
pub(super) async fn write_status(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    status: Box<PodStatus>,
) -> Done {
    let meta = &pod.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or("");
    let name = meta.name.as_deref().unwrap_or("");
    let new = serde_json::to_value(&status).unwrap_or(Value::Null);
    let old = serde_json::to_value(&pod.status).unwrap_or(Value::Null);
    let body = json!({
        "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
        "status": difference(&old, new),
    });
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), namespace);
    let answer = api.patch_status(name, &PatchParams::default(), &Patch::Merge(body)).await;
    Done::Written(match answer {
        Ok(pod) => Ok(Some(Box::new(pod))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => {
            if matches!(&error, kube::Error::Api(status) if status.code == 409) {
                return Done::Written(Err(Unwritten::Conflict));
            }
            tracing::warn!(
                name,
                namespace,
                error = chain(&error),
                "a pod's status was not written"
            );
            Err(Unwritten::Failed)
        }
    })
}

/// `new` as a merge patch on `old`: what is not there any more becomes null.
fn difference(old: &Value, mut new: Value) -> Value {
    if let (Some(old), Some(new)) = (old.as_object(), new.as_object_mut()) {
        for (key, value) in old {
            match new.get(key) {
                None => {
                    new.insert(key.clone(), Value::Null);
                }
                Some(same) if same == value => {
                    new.remove(key);
                }
                Some(_) => {}
            }
        }
    }
    new
}

pub(super) async fn confirm_deletion(shared: Arc<Shared>, pod: Arc<Pod>) -> Done {
    let meta = &pod.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or("");
    let name = meta.name.as_deref().unwrap_or("");
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), namespace);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: meta.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    Done::Written(match api.delete(name, &params).await {
        Ok(_) => Ok(None),
        // Gone, or another pod of that name: either way ours is no more.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(None),
        Err(error) => {
            tracing::warn!(name, namespace, error = chain(&error), "a deletion was not confirmed");
            Err(Unwritten::Failed)
        }
    })
}
