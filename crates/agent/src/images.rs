//! Takes unused images away when their disk fills.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use podsync::{
    events::warning,
    images::{Surplus, Unused, surplus},
};

use crate::{
    blocking::blocking,
    shared::{Shared, chain},
};

/// Between two looks. Source: kubernetes v1.36 `pkg/kubelet/kubelet.go`, `ImageGCPeriod`.
const EVERY: Duration = Duration::from_secs(300);

/// Looks from time to time, for as long as it is polled.
pub(crate) async fn run(shared: Arc<Shared>) -> &'static str {
    let mut told = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let found = look(&shared).await;
        let short = found.short;
        for id in found.remove {
            match shared.runtime.remove_image(&id).await {
                Ok(()) => tracing::info!(id, "an unused image is removed: its disk is full"),
                Err(error) => {
                    tracing::warn!(error = chain(&error), id, "an image was not removed");
                }
            }
        }
        match short {
            // Said once until there is room again: it is no news every five minutes.
            Some((wanted, freed)) if !told => {
                let text = format!(
                    "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
                );
                let event = warning("FreeDiskSpaceFailed", "", text);
                shared.recorder.note_node(&shared.config.node, event);
                told = true;
            }
            Some(_) => {}
            None => told = false,
        }
    }
}

async fn look(shared: &Arc<Shared>) -> Surplus {
    let folder: PathBuf = shared.config.data.clone();
    let room = match shared.facts.get() {
        Some(told) => Ok((told.disk_bytes, told.disk_free_bytes)),
        None => blocking(move || host::volume::room(&folder))
            .await
            .map_err(std::io::Error::other)
            .and_then(|room| room)
            .map(|room| (room.bytes, room.bytes_free)),
    };
    let (bytes, bytes_free) = match room {
        Ok(room) => room,
        Err(error) => {
            tracing::warn!(%error, "the room on the images' disk is not known");
            return Surplus::default();
        }
    };
    match shared.runtime.unused_images().await {
        Ok(images) => {
            let images: Vec<Unused> = images.into_iter().filter_map(unused).collect();
            surplus(&images, bytes, bytes_free, shared.clock.now())
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "images could not be listed");
            Surplus::default()
        }
    }
}

/// A time that no calendar has is none to go by.
fn unused(found: host::image::Unused) -> Option<Unused> {
    Some(Unused {
        used_at: Timestamp::try_from(found.used_at).ok()?,
        pulled: found.pulled,
        id: found.image.id,
        size_bytes: found.image.size_bytes,
    })
}
