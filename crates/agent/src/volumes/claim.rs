//! What a claim is bound to, as a path: hostPath and local volumes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;

use super::{Mounted, Wrong, blocking, host_path, make_folder, owner, reclaim};
use crate::shared::Shared;

/// Set once a claim's binding is complete. Source: kubernetes v1.36
/// `pkg/controller/volume/persistentvolume/util`, `AnnBindCompleted`.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// Makes the claim's volume usable.
pub(super) async fn mount(
    shared: &Arc<Shared>,
    pod: &Pod,
    volume: &str,
    claim: &str,
    read_only: bool,
    group: owner::Group,
) -> Result<Mounted, Wrong> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
    let unready = |why: String| Wrong {
        what: format!(
            "Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[], failed to process volumes=[{volume}]: "
        ),
        why: format!("error processing PVC {namespace}/{claim}: {why}"),
    };
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(shared.client.clone(), namespace);
    let found = claims.get(claim).await.map_err(|error| {
        unready(format!("failed to fetch PVC from API server: {}", crate::shared::chain(&error)))
    })?;
    if found.metadata.deletion_timestamp.is_some() {
        return Err(unready("PVC is being deleted".to_owned()));
    }
    let phase = found.status.as_ref().and_then(|status| status.phase.as_deref());
    let name = found.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default();
    // The binder writes what is bound, then the phase: in between, the scheduler has its answer,
    // and so have we. Upstream's kubelet looks at the phase alone, and is rarely as fast.
    let annotations = found.metadata.annotations.as_ref();
    let is_bound = phase == Some("Bound")
        || phase != Some("Lost") && annotations.is_some_and(|all| all.contains_key(BIND_COMPLETED));
    if !is_bound || name.is_empty() {
        return Err(unready("PVC is not bound".to_owned()));
    }
    let volumes: Api<PersistentVolume> = Api::all(shared.client.clone());
    let bound = volumes.get(&name).await.map_err(|error| {
        unready(format!("failed to get PV {name}: {}", crate::shared::chain(&error)))
    })?;
    let owner = bound.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if owner.and_then(|owner| owner.uid.as_ref()) != found.metadata.uid.as_ref() {
        return Err(unready(format!(
            "volume {name} is not bound to this claim: its claimRef names another uid"
        )));
    }
    path_of(shared, &bound, &name, read_only, group).await
}

async fn path_of(
    shared: &Arc<Shared>,
    bound: &PersistentVolume,
    name: &str,
    read_only: bool,
    group: owner::Group,
) -> Result<Mounted, Wrong> {
    let wrong = |why: &dyn std::fmt::Display| Wrong::set_up(name, why);
    let spec = bound.spec.clone().unwrap_or_default();
    if let Some(source) = spec.host_path {
        let path = PathBuf::from(&source.path);
        let kind = source.type_.unwrap_or_default();
        let checked = path.clone();
        blocking(move || Ok(host_path::check(&checked, &kind)))
            .await
            .map_err(|error| wrong(&error))?
            .map_err(|why| wrong(&why))?;
        return Ok(Mounted { path, read_only });
    }
    let Some(local) = spec.local else {
        return Err(wrong(&"no plugin of this node can mount it: only hostPath and local can be"));
    };
    let path = PathBuf::from(&local.path);
    let block = spec.volume_mode.as_deref() == Some("Block");
    let ours = reclaim::is_ours(bound, &reclaim::folder(&shared.config));
    let made = path.clone();
    let there = blocking(move || {
        if ours {
            // Programs that do not run as root must be able to write.
            make_folder(&made, 0o777)?;
        }
        if made.exists() && !block {
            owner::apply(&made, &group, read_only)?;
        }
        Ok(made.exists())
    })
    .await
    .map_err(|error| wrong(&error))?;
    if !there {
        return Err(missing(name, &path));
    }
    Ok(Mounted { path, read_only })
}

fn missing(name: &str, path: &Path) -> Wrong {
    Wrong {
        what: format!("MountVolume.NewMounter initialization failed for volume \"{name}\" : "),
        why: format!("path \"{}\" does not exist", path.display()),
    }
}
