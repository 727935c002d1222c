//! Does a plan, nothing more: writes in order, events about them, and what to wait for.

use std::sync::Arc;

use client::{
    AnyCache, Deletion, Expectation, Merge, Preconditions, Recorder, Told, WriteError, Writer,
    Written,
};
use controllers::{Action, Note, PatchKind, Plan, Propagation, Target, Verb};
use futures::future::join_all;
use k8s_openapi::api::core::v1::ObjectReference;
use thiserror::Error;

use crate::caches::Caches;

/// How a plan went.
#[derive(Default)]
pub(crate) struct Carried {
    /// What the caches must show before the key is looked at again.
    pub(crate) expectations: Vec<(Arc<dyn AnyCache>, Expectation)>,
    /// The first write that failed: what it was for, and why it failed.
    pub(crate) failure: Option<(String, Failure)>,
}

/// Why an action failed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The API server refused, or did not answer.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What was seen is not what is there.
    #[error("{0}")]
    NotConfirmed(String),
}

impl Failure {
    /// Whether it only means that someone else was faster: common, and cured by a fresh look.
    pub(crate) fn is_race(&self) -> bool {
        matches!(
            self,
            Failure::NotConfirmed(_)
                | Failure::Write(
                    WriteError::NotFound(_)
                        | WriteError::AlreadyExists(_)
                        | WriteError::Conflict(_)
                )
        )
    }
}

/// Who writes, and where it is told and seen.
pub(crate) struct Hands<'a> {
    pub(crate) writer: &'a Writer,
    pub(crate) recorder: &'a Recorder,
    pub(crate) caches: &'a Caches,
}

impl Hands<'_> {
    /// Carries out the groups in order; after a failure only what is marked `always`.
    pub(crate) async fn carry_out(&self, plan: &Plan) -> Carried {
        let mut carried = Carried::default();
        let mut actions: Vec<&Action> = plan.actions.iter().collect();
        actions.sort_by_key(|action| action.group);
        for group in actions.chunk_by(|a, b| a.group == b.group) {
            self.group(group, &mut carried).await;
        }
        carried
    }

    /// Batches of 1, 2, 4 …: where all would fail, few are tried.
    async fn group(&self, group: &[&Action], carried: &mut Carried) {
        let mut rest: Vec<&Action> = group.to_vec();
        let mut size = 1;
        loop {
            if carried.failure.is_some() {
                rest.retain(|action| action.always);
            }
            if rest.is_empty() {
                return;
            }
            let batch: Vec<&Action> = rest.drain(..size.min(rest.len())).collect();
            let answers = join_all(batch.iter().map(|action| self.write(action))).await;
            for (action, answer) in batch.iter().zip(answers) {
                self.tell(action, answer.as_ref().err());
                match answer {
                    Ok(written) => carried
                        .expectations
                        .extend(written.and_then(|written| self.expectation(written))),
                    Err(failure) => {
                        carried.failure.get_or_insert_with(|| (action.why.clone(), failure));
                    }
                }
            }
            size *= 2;
        }
    }

    async fn write(&self, action: &Action) -> Result<Option<Written>, Failure> {
        match &action.verb {
            Verb::Create(object) => Ok(Some(self.writer.create(&**object).await?)),
            Verb::Update { object, subresource } => {
                Ok(Some(self.writer.update(&**object, *subresource).await?))
            }
            Verb::Patch { target, subresource, kind, body } => {
                let merge = match kind {
                    PatchKind::Merge => Merge::Json,
                    PatchKind::Strategic => Merge::Strategic,
                };
                let (resource, key) = (known(target)?, key(target));
                Ok(Some(self.writer.patch(resource, key, *subresource, merge, body).await?))
            }
            Verb::Delete { target, resource_version, grace_period_s, propagation } => {
                let conditions = Preconditions {
                    uid: Some(target.uid.clone()).filter(|uid| !uid.is_empty()),
                    resource_version: resource_version.clone(),
                };
                let how = Deletion {
                    grace_period_s: *grace_period_s,
                    propagation_policy: propagation.map(policy),
                };
                let (resource, key) = (known(target)?, key(target));
                match self.writer.delete(resource, key, &conditions, &how).await {
                    Ok(written) => Ok(Some(written)),
                    Err(WriteError::NotFound(_)) => Ok(None),
                    Err(error) => Err(error.into()),
                }
            }
            Verb::Bind { target, node } => {
                self.writer.bind(key(target), &target.uid, node).await?;
                Ok(None)
            }
            Verb::Confirm(target) => self.confirm(target).await.map(|()| None),
            Verb::ConfirmGone(target) => self.confirm_gone(target).await.map(|()| None),
            Verb::Note => Ok(None),
        }
    }

    async fn confirm(&self, target: &Target) -> Result<(), Failure> {
        let Target { kind, namespace, name, uid, .. } = target;
        let gone = |got: &str| {
            let text =
                format!("original {kind} {namespace}/{name} is gone: got uid {got}, wanted {uid}");
            Failure::NotConfirmed(text)
        };
        match self.writer.live(known(target)?, key(target)).await {
            Ok((got, _)) if got != *uid => Err(gone(&got)),
            Ok((_, Some(at))) => {
                let text = format!("{namespace}/{name} has just been deleted at {at}");
                Err(Failure::NotConfirmed(text))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn confirm_gone(&self, target: &Target) -> Result<(), Failure> {
        match self.writer.live(known(target)?, key(target)).await {
            Ok((got, _)) if target.uid.is_empty() || got == target.uid => {
                let text = format!("{} {}/{} is there", target.kind, target.namespace, target.name);
                Err(Failure::NotConfirmed(text))
            }
            Ok(_) | Err(WriteError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn expectation(&self, written: Written) -> Option<(Arc<dyn AnyCache>, Expectation)> {
        let cache = Arc::clone(self.caches.named(written.group, written.kind)?);
        let mut expectation = written.expectation;
        cache.expect(&mut expectation);
        Some((cache, expectation))
    }

    fn tell(&self, action: &Action, failure: Option<&Failure>) {
        let Some(outcome) = &action.events else { return };
        let say = |note: &Note| {
            let error = failure.map(ToString::to_string).unwrap_or_default();
            self.recorder.tell(Told {
                about: about(&outcome.regarding),
                warning: note.warning,
                reason: note.reason,
                message: note.message.replace("{error}", &error),
            });
        };
        match failure {
            None => outcome.success.iter().for_each(say),
            Some(failure) => {
                let exists = matches!(failure, Failure::Write(WriteError::AlreadyExists(_)));
                let told = outcome.failure.iter().filter(|note| !(exists && note.unless_exists));
                told.for_each(say);
            }
        }
    }
}

fn known(target: &Target) -> Result<&'static dyn api::Resource, WriteError> {
    target.resource().ok_or_else(|| WriteError::UnknownKind {
        group: target.group.clone(),
        kind: target.kind.clone(),
    })
}

fn key(target: &Target) -> (&str, &str) {
    (&target.namespace, &target.name)
}

fn policy(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Background => "Background",
        Propagation::Foreground => "Foreground",
        Propagation::Orphan => "Orphan",
    }
}

/// How an event names what it is about.
fn about(target: &Target) -> ObjectReference {
    ObjectReference {
        api_version: target.resource().map(|resource| resource.names().api_version()),
        kind: Some(target.kind.clone()),
        namespace: Some(target.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        name: Some(target.name.clone()),
        uid: Some(target.uid.clone()),
        ..ObjectReference::default()
    }
}
