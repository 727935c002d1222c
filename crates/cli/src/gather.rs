//! Fills the snapshot that an explanation needs, with whatever rights the caller has.
//!
//! What may not be read is noted and goes into the answer; only a server that does not answer, or
//! does not know the caller, ends it.

use std::{fmt::Debug, sync::Arc};

use anyhow::{Context, Result};
use client::kube::{
    self, Api, ResourceExt as _,
    api::{ListParams, LogParams},
};
use diagnosis::{Explanation, Log, Part, Snapshot, Subject, SubjectKind};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;

use crate::reach::Reached;

/// Lines of a log that are fetched.
const LOG_LINES: i64 = 20;
/// Bytes of a log that are fetched at the most.
const LOG_BYTES: i64 = 64 * 1024;

/// Gathers and explains; asks for logs and all pods only where the first answer wants them.
pub(crate) async fn explain(
    reached: &Reached,
    subject: &Subject,
    now: Timestamp,
) -> Result<Option<Explanation>> {
    let mut seen = gather(reached, subject).await?;
    let Some(first) = diagnosis::explain(&seen, subject, now) else { return Ok(None) };
    let wants_log = first.cause.as_ref().and_then(|cause| cause.log.clone());
    let wants_all_pods = first.cause.as_ref().is_some_and(|cause| cause.wants_all_pods);
    if wants_log.is_none() && !wants_all_pods {
        return Ok(Some(first));
    }
    if let Some(log) = wants_log {
        read_log(reached, log, &mut seen).await;
    }
    if wants_all_pods {
        let own = &reached.namespace;
        let pods: Api<Pod> = Api::all(reached.client.clone());
        let pods = list(pods, Part::Elsewhere, None, &mut seen).await?;
        seen.elsewhere =
            pods.into_iter().filter(|pod| pod.namespace().as_ref() != Some(own)).collect();
    }
    Ok(diagnosis::explain(&seen, subject, now))
}

async fn gather(reached: &Reached, subject: &Subject) -> Result<Snapshot> {
    let client = || reached.client.clone();
    let namespace = reached.namespace.as_str();
    let mut seen = Snapshot { namespace: namespace.to_owned(), ..Snapshot::default() };
    let named = |kind: SubjectKind| (subject.kind == kind).then_some(subject.name.as_str());
    // One after the other: the answer of one server in one process comes within milliseconds,
    // and a large cluster is not asked for everything at once.
    seen.sets =
        list(Api::namespaced(client(), namespace), Part::Sets, named(SubjectKind::Set), &mut seen)
            .await?;
    seen.pods =
        list(Api::namespaced(client(), namespace), Part::Pods, named(SubjectKind::Pod), &mut seen)
            .await?;
    seen.claims = list(
        Api::namespaced(client(), namespace),
        Part::Claims,
        named(SubjectKind::Claim),
        &mut seen,
    )
    .await?;
    seen.services = list(
        Api::namespaced(client(), namespace),
        Part::Services,
        named(SubjectKind::Service),
        &mut seen,
    )
    .await?;
    seen.revisions =
        list(Api::namespaced(client(), namespace), Part::Revisions, None, &mut seen).await?;
    seen.policies =
        list(Api::namespaced(client(), namespace), Part::Policies, None, &mut seen).await?;
    seen.slices = list(Api::namespaced(client(), namespace), Part::Slices, None, &mut seen).await?;
    seen.events = list(Api::namespaced(client(), namespace), Part::Events, None, &mut seen).await?;
    seen.nodes = list(Api::all(client()), Part::Nodes, None, &mut seen).await?;
    seen.volumes = list(Api::all(client()), Part::Volumes, None, &mut seen).await?;
    seen.classes = list(Api::all(client()), Part::Classes, None, &mut seen).await?;
    Ok(seen)
}

/// All objects of a kind; where they may not be listed, the one that is asked about.
async fn list<K>(
    api: Api<K>,
    part: Part,
    name: Option<&str>,
    seen: &mut Snapshot,
) -> Result<Vec<Arc<K>>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let refusal = match api.list(&ListParams::default()).await {
        Ok(list) => return Ok(list.items.into_iter().map(Arc::new).collect()),
        // The cluster does not have this kind, so it has none of them.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        Err(kube::Error::Api(status)) if status.code != 401 => status,
        Err(kube::Error::Api(status)) => {
            return Err(kube::Error::Api(status)).context("the cluster does not know the caller");
        }
        Err(error) => return Err(error).context("the cluster does not answer"),
    };
    seen.unseen.insert(part, refusal.message.clone());
    let Some(name) = name else { return Ok(Vec::new()) };
    match api.get_opt(name).await {
        Ok(found) => Ok(found.into_iter().map(Arc::new).collect()),
        Err(error) => Err(error).with_context(|| format!("{} may not be read", part.name())),
    }
}

/// The end of one container's log; a refusal is noted.
async fn read_log(reached: &Reached, log: Log, seen: &mut Snapshot) {
    let api: Api<Pod> = Api::namespaced(reached.client.clone(), &reached.namespace);
    let wanted = LogParams {
        container: Some(log.container.clone()),
        previous: log.previous,
        tail_lines: Some(LOG_LINES),
        limit_bytes: Some(LOG_BYTES),
        ..LogParams::default()
    };
    match api.logs(&log.pod, &wanted).await {
        Ok(text) => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            seen.logs.insert(log, lines.map(str::to_owned).collect());
        }
        Err(kube::Error::Api(status)) => {
            seen.unseen.insert(Part::Logs, status.message.clone());
        }
        Err(error) => {
            seen.unseen.insert(Part::Logs, error.to_string());
        }
    }
}
