//! The verbs that write: undo, return, pause, resume, restart.

use anyhow::{Context, Result, bail};
use api::policy::{StatefulSetPolicy, StatefulSetPolicySpec};
use client::kube::{
    self,
    api::{Patch, PatchParams, PostParams},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{ControllerRevision, StatefulSet},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

use super::{Place, history};

/// Who changes objects, as managed fields tell it.
const MANAGER: &str = "stead-rollout";

type Say<'a> = &'a mut (dyn FnMut(&str) -> Result<()> + Send);

/// Sets the template back.
pub(crate) async fn undo(place: &Place, number: Option<i64>, say: Say<'_>) -> Result<()> {
    let (set, policy) = (place.set().await?, place.policy().await?);
    if is_paused(policy.as_ref()) {
        bail!(
            "you cannot rollback a paused statefulset; resume it first with 'stead rollout \
             resume' and try again"
        );
    }
    let own = history::own(&set, place.revisions().await?);
    let target = history::target(&set, policy.as_ref(), &own, number)?;
    go_back(place, &set, target, say).await
}

/// Gives up a rollout that is not done.
pub(crate) async fn give_up(place: &Place, say: Say<'_>) -> Result<()> {
    let (set, policy) = (place.set().await?, place.policy().await?);
    let own = history::own(&set, place.revisions().await?);
    let Some(target) = history::unfinished_from(&set, policy.as_ref(), &own) else {
        bail!("statefulset {:?} is not in a rollout: there is nothing to return from", place.name);
    };
    go_back(place, &set, target, say).await
}

async fn go_back(
    place: &Place,
    set: &StatefulSet,
    target: &ControllerRevision,
    say: Say<'_>,
) -> Result<()> {
    let update = set.status.as_ref().and_then(|status| status.update_revision.as_deref());
    let seen = set.status.as_ref().and_then(|status| status.observed_generation);
    if update == Some(history::name(target)) && seen == set.metadata.generation {
        let number = target.revision;
        return say(&format!(
            "statefulset.apps/{} skipped rollback (current template already matches revision \
             {number})",
            place.name
        ));
    }
    // The version that was decided on: another edit in between is not undone unseen.
    let mut patch = target.data.as_ref().map_or(Value::Null, |data| data.0.clone());
    if patch["spec"]["template"].is_null() {
        bail!("revision {} holds no template", target.revision);
    }
    patch["metadata"] = json!({"resourceVersion": set.metadata.resource_version});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
    place.sets().patch(&place.name, &params, &Patch::Strategic(patch)).await?;
    let number = target.revision;
    say(&format!(
        "statefulset.apps/{} rolled back (to the template of revision {number})",
        place.name
    ))
}

/// Writes `paused` to the set's policy, which is made where there is none.
pub(crate) async fn pause(place: &Place, wanted: bool, say: Say<'_>) -> Result<()> {
    place.set().await?;
    let policy = place.policy().await?;
    if is_paused(policy.as_ref()) == wanted {
        let is = if wanted { "is already paused" } else { "is not paused" };
        bail!("statefulsets.apps {:?} {is}", place.name);
    }
    let done = if wanted { "paused" } else { "resumed" };
    let Some(policy) = policy else {
        create(place).await?;
        return say(&format!("statefulset.apps/{} {done}", place.name));
    };
    let name = policy.metadata.name.clone().unwrap_or_default();
    let patch = json!({
        "metadata": {"uid": policy.metadata.uid}, "spec": {"paused": wanted},
    });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
    place.policies().patch(&name, &params, &Patch::Merge(patch)).await?;
    say(&format!("statefulset.apps/{} {done}", place.name))
}

async fn create(place: &Place) -> Result<()> {
    let policy = StatefulSetPolicy {
        metadata: ObjectMeta { name: Some(place.name.clone()), ..ObjectMeta::default() },
        spec: StatefulSetPolicySpec {
            stateful_set_name: place.name.clone(),
            paused: Some(true),
            ..StatefulSetPolicySpec::default()
        },
        status: None,
    };
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
    match place.policies().create(&params, &policy).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => bail!(
            "this cluster does not know the kind StatefulSetPolicy (stead.io/v1alpha1), which \
             holds the pause: install its CustomResourceDefinition, and run `stead controller`"
        ),
        Err(error) => Err(error).context("the policy that holds the pause was not made"),
    }
}

/// Gives the template a new annotation, as kubectl does.
pub(crate) async fn restart(place: &Place, now: Timestamp, say: Say<'_>) -> Result<()> {
    let policy = place.policy().await?;
    if is_paused(policy.as_ref()) {
        bail!("can't restart paused statefulset (run rollout resume first)");
    }
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {
        "kubectl.kubernetes.io/restartedAt": format!("{now:.0}"),
    }}}}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
    place.sets().patch(&place.name, &params, &Patch::Strategic(patch)).await?;
    say(&format!("statefulset.apps/{} restarted", place.name))
}

fn is_paused(policy: Option<&StatefulSetPolicy>) -> bool {
    policy.is_some_and(|policy| policy.spec.paused == Some(true))
}
