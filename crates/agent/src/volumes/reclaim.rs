//! What becomes of this node's volumes: deleted or emptied once they are released, grown on request.
//!
//! ```text
//!   Released, Delete  ─▶ the folder goes, then its record
//!   Released, Recycle ─▶ the folder is emptied, then the volume is free again
//!   Bound, pre-resize ─▶ the file system grows, then the claim has its new capacity
//! ```

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use client::{AnyCache, Cache, Key};
use controllers::volumes::{
    BOUND_BY_CONTROLLER, LOCAL_PROVISIONER, PROVISIONED_BY, growth, volume::is_deletable,
};
use k8s_openapi::{
    api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api,
    api::{DeleteParams, PostParams, Preconditions},
    runtime::watcher,
};
use podsync::events::{normal, warning};
use tokio::sync::Notify;

use crate::{
    config::Config,
    shared::{Shared, chain},
};

/// On the Node: where its agent keeps the folders.
pub(crate) use controllers::volumes::LOCAL_PATH;

/// Between two tries at what failed.
const AGAIN: Duration = Duration::from_secs(30);
/// Until a claim says that its node is to grow it, which follows at once.
const SOON: Duration = Duration::from_secs(1);

/// Where this node keeps the folders of `stead.io/local`.
pub(crate) fn folder(config: &Config) -> PathBuf {
    config.data.join("volumes")
}

/// A volume that the built-in provisioner made below `folder`.
pub(super) fn is_ours(volume: &PersistentVolume, folder: &Path) -> bool {
    let path = volume.spec.as_ref().and_then(|spec| spec.local.as_ref()).map(|l| l.path.as_str());
    made_by(volume) == Some(LOCAL_PROVISIONER)
        && path.is_some_and(|path| {
            Path::new(path)
                .strip_prefix(folder)
                .is_ok_and(|rest| rest.components().count() == 1 && !path.contains(".."))
        })
}

fn made_by(volume: &PersistentVolume) -> Option<&str> {
    volume.metadata.annotations.as_ref()?.get(PROVISIONED_BY).map(String::as_str)
}

/// What there is to do for a volume here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Task {
    /// The folder goes, and the record.
    Delete(PathBuf),
    /// The folder is emptied, and the volume is free again.
    Recycle(PathBuf),
    /// The file system mounted here takes all of its device.
    Grow(PathBuf),
}

fn task(volume: &PersistentVolume, node: &Node, folder: &Path) -> Option<Task> {
    let spec = volume.spec.as_ref()?;
    let local = spec.local.as_ref().map(|local| PathBuf::from(&local.path));
    let path = spec.host_path.as_ref().map(|path| PathBuf::from(&path.path)).or(local)?;
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let released = matches!(phase, Some("Released" | "Failed"));
    if is_ours(volume, folder) {
        let delete = spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
        return (released && delete).then_some(Task::Delete(path));
    }
    if !scheduler::reaches(volume, node) || made_by(volume).is_some() {
        return None;
    }
    match spec.persistent_volume_reclaim_policy.as_deref() {
        Some("Delete") if released && spec.host_path.is_some() => {
            is_deletable(path.to_str()?).then_some(Task::Delete(path))
        }
        Some("Recycle") if released && volume.metadata.deletion_timestamp.is_none() => {
            let block = spec.volume_mode.as_deref() == Some("Block");
            (!block).then_some(Task::Recycle(path))
        }
        _ if phase == Some("Bound") && spec.local.is_some() => {
            let annotations = volume.metadata.annotations.as_ref()?;
            annotations.contains_key(growth::BEFORE).then_some(Task::Grow(path))
        }
        _ => None,
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    /// The claim does not say yet that its node is to act.
    Early,
    Failed,
}

/// Does what there is to do, for as long as it is polled. `client` may read all volumes.
pub(crate) async fn run(shared: Arc<Shared>, client: kube::Client) {
    let cache: Cache<PersistentVolume> = Cache::new(None);
    let changed = Arc::new(Notify::new());
    let ring = Arc::clone(&changed);
    cache.subscribe(
        |old, new| old.or(new).map(|one| Key::of(&one.metadata)).into_iter().collect(),
        Arc::new(move |_| ring.notify_one()),
    );
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let stream = watcher(volumes.clone(), watcher::Config::default());
    let follow = cache.follow("persistentvolumes", 7, stream);
    let keeper = Caretaker { folder: folder(&shared.config), shared, client, volumes };
    let keep = async {
        (&cache as &dyn AnyCache).synced().await;
        loop {
            let mut worst = Ended::Done;
            for volume in cache.list() {
                match keeper.keep(&volume).await {
                    Ended::Done => {}
                    Ended::Failed => worst = Ended::Failed,
                    Ended::Early if worst == Ended::Done => worst = Ended::Early,
                    Ended::Early => {}
                }
            }
            let again = match worst {
                Ended::Done => {
                    changed.notified().await;
                    continue;
                }
                Ended::Early => SOON,
                Ended::Failed => AGAIN,
            };
            tokio::select! {
                biased;
                () = changed.notified() => {}
                () = tokio::time::sleep(again) => {}
            }
        }
    };
    tokio::join!(follow, keep);
}

struct Caretaker {
    shared: Arc<Shared>,
    client: kube::Client,
    volumes: Api<PersistentVolume>,
    folder: PathBuf,
}

impl Caretaker {
    async fn keep(&self, seen: &PersistentVolume) -> Ended {
        let Some(node) = self.shared.nodes.get("", &self.shared.config.node) else {
            return Ended::Early;
        };
        if task(seen, &node, &self.folder).is_none() {
            return Ended::Done;
        }
        // Data is at stake: what is done is done to the volume as it is now.
        let name = seen.metadata.name.clone().unwrap_or_default();
        let volume = match self.volumes.get_opt(&name).await {
            Ok(Some(volume)) => volume,
            Ok(None) => return Ended::Done,
            Err(error) => {
                tracing::warn!(error = chain(&error), name, "a volume could not be read");
                return Ended::Failed;
            }
        };
        match task(&volume, &node, &self.folder) {
            None => Ended::Done,
            Some(Task::Delete(path)) => self.delete(&volume, path).await,
            Some(Task::Recycle(path)) => self.recycle(volume, path).await,
            Some(Task::Grow(path)) => self.grow(&volume, path).await,
        }
    }

    /// The folder first: a record without a folder can be deleted again, the other way round data
    /// would be left that nobody knows of.
    async fn delete(&self, volume: &PersistentVolume, path: PathBuf) -> Ended {
        let data = self.shared.config.data.clone();
        let ours = is_ours(volume, &self.folder);
        let removed = super::blocking(move || {
            if !ours {
                spare(&path, &data)?;
            }
            host::scrub::remove(&path)
        });
        if let Err(error) = removed.await {
            return self.failed(volume, "VolumeFailedDelete", &error.to_string()).await;
        }
        if volume.metadata.deletion_timestamp.is_some() {
            return Ended::Done;
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: volume.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        match self.volumes.delete(name, &params).await {
            Ok(_) => Ended::Done,
            Err(kube::Error::Api(status)) if status.code == 404 => Ended::Done,
            Err(error) => {
                tracing::warn!(error = chain(&error), name, "a volume's record was not deleted");
                Ended::Failed
            }
        }
    }

    async fn recycle(&self, volume: PersistentVolume, path: PathBuf) -> Ended {
        let data = self.shared.config.data.clone();
        let emptied = super::blocking(move || {
            spare(&path, &data)?;
            host::scrub::empty(&path)
        });
        if let Err(error) = emptied.await {
            let why = format!("Recycle failed: {error}");
            return self.failed(&volume, "VolumeFailedRecycle", &why).await;
        }
        let event = normal("VolumeRecycled", "", "Volume recycled".to_owned());
        self.shared.recorder.note_volume(&volume, event);
        let name = volume.metadata.name.clone().unwrap_or_default();
        let free = unbound(volume);
        match self.volumes.replace(&name, &PostParams::default(), &free).await {
            Ok(_) => Ended::Done,
            Err(error) => {
                tracing::warn!(error = chain(&error), name, "an emptied volume was not freed");
                Ended::Failed
            }
        }
    }

    /// Says on the volume why it cannot be used again.
    async fn failed(&self, volume: &PersistentVolume, reason: &'static str, why: &str) -> Ended {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        tracing::warn!(why, name, "a released volume could not be reclaimed");
        self.shared.recorder.note_volume(volume, warning(reason, "", why.to_owned()));
        let mut told = volume.clone();
        let status = told.status.get_or_insert_default();
        if status.phase.as_deref() == Some("Failed") && status.message.as_deref() == Some(why) {
            return Ended::Failed;
        }
        if status.phase.as_deref() != Some("Failed") {
            status.last_phase_transition_time = Some(Time(self.shared.clock.now()));
        }
        status.phase = Some("Failed".to_owned());
        status.message = Some(why.to_owned());
        if let Err(error) = self.volumes.replace_status(name, &PostParams::default(), &told).await {
            tracing::warn!(error = chain(&error), name, "a volume's failure was not written");
        }
        Ended::Failed
    }

    async fn grow(&self, volume: &PersistentVolume, path: PathBuf) -> Ended {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let spec = volume.spec.as_ref();
        let Some(reference) = spec.and_then(|spec| spec.claim_ref.as_ref()) else {
            return Ended::Done;
        };
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(
            self.client.clone(),
            reference.namespace.as_deref().unwrap_or_default(),
        );
        let claim = match claims.get_opt(reference.name.as_deref().unwrap_or_default()).await {
            Ok(Some(claim)) if claim.metadata.uid == reference.uid => claim,
            Ok(_) => return Ended::Done,
            Err(error) => {
                tracing::warn!(error = chain(&error), name, "a growing claim could not be read");
                return Ended::Failed;
            }
        };
        if !growth::awaits_node(&claim) {
            return Ended::Early;
        }
        let node = &self.shared.config.node;
        match super::blocking(move || host::volume::grow(&path)).await {
            Ok(grown) => tracing::info!(name, ?grown, "a volume has grown"),
            Err(error) => {
                let text =
                    format!("MountVolume.NodeExpandVolume failed for volume \"{name}\" : {error}");
                let event = warning("FileSystemResizeFailed", "", text);
                self.shared.recorder.note_claim(&claim, event);
                return Ended::Failed;
            }
        }
        let mut told = claim;
        let mut status = growth::settled(told.status.take().unwrap_or_default());
        status.capacity = spec.and_then(|spec| spec.capacity.clone());
        told.status = Some(status);
        let claim = told.metadata.name.clone().unwrap_or_default();
        match claims.replace_status(&claim, &PostParams::default(), &told).await {
            Ok(claim) => {
                let text =
                    format!("MountVolume.NodeExpandVolume succeeded for volume \"{name}\" {node}");
                let event = normal("FileSystemResizeSuccessful", "", text);
                self.shared.recorder.note_claim(&claim, event);
                Ended::Done
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), claim, "a grown claim was not written");
                Ended::Early
            }
        }
    }
}

/// A person's folder that holds what stead itself keeps, or all of the machine, is not touched.
fn spare(path: &Path, data: &Path) -> io::Result<()> {
    let path = path.canonicalize()?;
    let data = data.canonicalize()?;
    if data.starts_with(&path) || path.starts_with(&data) || path.parent().is_none() {
        let why = format!("{} holds what stead itself keeps", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

/// A volume without its claim; one that a person reserved stays reserved by name.
///
/// Source: kubernetes v1.36 `pv_controller.go`, `unbindVolume`.
fn unbound(mut volume: PersistentVolume) -> PersistentVolume {
    let annotations = volume.metadata.annotations.as_mut();
    let by_controller = annotations.and_then(|all| all.remove(BOUND_BY_CONTROLLER)).is_some();
    let spec = volume.spec.get_or_insert_default();
    if by_controller {
        spec.claim_ref = None;
    } else if let Some(reference) = &mut spec.claim_ref {
        reference.uid = None;
        reference.resource_version = None;
    }
    volume
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(
        policy: &str,
        phase: &str,
        spec: Value,
        annotation: Option<(&str, &str)>,
        wanted: &str,
    ) {
        let mut volume: PersistentVolume = serde_json::from_value(json!({
            "metadata": {"name": "v"}, "spec": spec, "status": {"phase": phase}}))
        .unwrap();
        let spec = volume.spec.as_mut().unwrap();
        spec.persistent_volume_reclaim_policy = Some(policy.to_owned());
        let annotation = annotation.map(|(key, value)| (key.to_owned(), value.to_owned()));
        volume.metadata.annotations = Some(annotation.into_iter().collect());
        let node = json!({"metadata": {"name": "n", "labels": {"zone": "here"}}});
        let node: Node = serde_json::from_value(node).unwrap();
        let told = task(&volume, &node, Path::new("/data/volumes"));
        let told = told.map_or_else(|| "-".to_owned(), |task| format!("{task:?}"));
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_there_is_to_do_for_a_volume() {
        let ours = Some((PROVISIONED_BY, LOCAL_PROVISIONER));
        let local = |path: &str| json!({"local": {"path": path}});
        let host = |path: &str| json!({"hostPath": {"path": path}});
        let path = local("/data/volumes/pvc-1");
        check("Delete", "Released", path.clone(), ours, "Delete(\"/data/volumes/pvc-1\")");
        check("Delete", "Failed", path.clone(), ours, "Delete(\"/data/volumes/pvc-1\")");
        check("Delete", "Bound", path.clone(), ours, "-");
        check("Retain", "Released", path.clone(), ours, "-");
        check("Delete", "Released", path, None, "-");
        check("Delete", "Released", local("/data/volumes/../x"), ours, "-");
        check("Delete", "Released", local("/data/other/pvc-1"), ours, "-");
        check("Delete", "Released", host("/tmp/x"), None, "Delete(\"/tmp/x\")");
        check("Delete", "Released", host("/tmp/"), None, "-");
        check("Delete", "Released", host("/tmp/../etc"), None, "-");
        check("Delete", "Released", host("/srv"), None, "-");
        check("Recycle", "Released", host("/srv/x"), None, "Recycle(\"/srv/x\")");
        check("Recycle", "Failed", local("/srv/x"), None, "Recycle(\"/srv/x\")");
        check("Recycle", "Available", local("/srv/x"), None, "-");
        check("Retain", "Bound", local("/mnt/x"), None, "-");
        check(
            "Retain",
            "Bound",
            local("/mnt/x"),
            Some((growth::BEFORE, "1Gi")),
            "Grow(\"/mnt/x\")",
        );
        let on = |zone: &str| {
            json!({"local": {"path": "/srv/x"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}]}}})
        };
        check("Recycle", "Released", on("here"), None, "Recycle(\"/srv/x\")");
        check("Recycle", "Released", on("there"), None, "-");
    }

    #[test]
    fn a_volume_is_freed_as_it_was_bound() {
        let volume = |annotations: Value| -> PersistentVolume {
            serde_json::from_value(json!({"metadata": {"name": "v", "annotations": annotations},
                "spec": {"claimRef": {"name": "c", "namespace": "d", "uid": "u"}}}))
            .unwrap()
        };
        let reference = |volume: PersistentVolume| unbound(volume).spec.unwrap().claim_ref;
        assert!(reference(volume(json!({BOUND_BY_CONTROLLER: "yes"}))).is_none());
        let kept = reference(volume(json!({}))).unwrap();
        assert_eq!((kept.name.as_deref(), kept.uid), (Some("c"), None));
    }

    #[test]
    fn what_stead_keeps_is_spared() {
        let place = tempfile::tempdir().unwrap();
        let (data, other) = (place.path().join("data"), place.path().join("other"));
        std::fs::create_dir_all(data.join("pods")).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        for (path, spared) in [
            (place.path(), true),
            (data.as_path(), true),
            (&data.join("pods"), true),
            (Path::new("/"), true),
            (other.as_path(), false),
        ] {
            assert_eq!(spare(path, &data).is_err(), spared, "{}", path.display());
        }
    }
}
