//! Folders of `stead.io/local` volumes: deleted with their records once they are released.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use client::{AnyCache, Cache, Key};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
    runtime::watcher,
};
use tokio::sync::Notify;

use crate::config::Config;

/// Who makes such volumes.
const PROVISIONER: &str = "stead.io/local";
/// Says so on the volume.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On the Node: where its agent keeps the folders.
pub(crate) const LOCAL_PATH: &str = "stead.io/local-path";
/// Between two tries to delete a folder, seconds.
const AGAIN_S: u64 = 30;

/// Where this node keeps them.
pub(crate) fn folder(config: &Config) -> PathBuf {
    config.data.join("volumes")
}

/// A volume that the built-in provisioner made below `folder`.
pub(super) fn is_ours(volume: &PersistentVolume, folder: &Path) -> bool {
    let made_by = volume.metadata.annotations.as_ref().and_then(|all| all.get(PROVISIONED_BY));
    let path = volume.spec.as_ref().and_then(|spec| spec.local.as_ref()).map(|l| l.path.as_str());
    made_by.map(String::as_str) == Some(PROVISIONER)
        && path.is_some_and(|path| {
            Path::new(path)
                .strip_prefix(folder)
                .is_ok_and(|rest| rest.components().count() == 1 && !path.contains(".."))
        })
}

fn is_released(volume: &PersistentVolume) -> bool {
    let policy =
        volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    policy == Some("Delete") && matches!(phase, Some("Released" | "Failed"))
}

/// Deletes released folders and their records, for as long as it is polled.
pub(crate) async fn run(client: kube::Client, folder: PathBuf) {
    let cache: Cache<PersistentVolume> = Cache::new(None);
    let changed = Arc::new(Notify::new());
    let ring = Arc::clone(&changed);
    cache.subscribe(
        |old, new| old.or(new).map(|one| Key::of(&one.metadata)).into_iter().collect(),
        Arc::new(move |_| ring.notify_one()),
    );
    let api: Api<PersistentVolume> = Api::all(client);
    let stream = watcher(api.clone(), watcher::Config::default());
    let follow = cache.follow("persistentvolumes", 7, stream);
    let delete = async {
        (&cache as &dyn AnyCache).synced().await;
        loop {
            let mut failed = false;
            for volume in cache.list() {
                if is_ours(&volume, &folder) && is_released(&volume) {
                    failed |= !reclaim(&api, &volume).await;
                }
            }
            let again = std::time::Duration::from_secs(AGAIN_S);
            if failed {
                tokio::select! {
                    () = changed.notified() => {}
                    () = tokio::time::sleep(again) => {}
                }
            } else {
                changed.notified().await;
            }
        }
    };
    tokio::join!(follow, delete);
}

/// The folder first: a record without a folder can be deleted again, the other way round data
/// would be left that nobody knows of.
async fn reclaim(api: &Api<PersistentVolume>, volume: &PersistentVolume) -> bool {
    let name = volume.metadata.name.clone().unwrap_or_default();
    let Some(local) = volume.spec.as_ref().and_then(|spec| spec.local.clone()) else {
        return true;
    };
    let removed = super::blocking(move || match fs::remove_dir_all(&local.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    });
    if let Err(error) = removed.await {
        tracing::warn!(%error, name, "a released volume's folder could not be deleted");
        return false;
    }
    if volume.metadata.deletion_timestamp.is_some() {
        return true;
    }
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: volume.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&name, &params).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.code == 404 => true,
        Err(error) => {
            tracing::warn!(%error, name, "a released volume's record could not be deleted");
            false
        }
    }
}
