//! Making sure of an image, with upstream's events on the way.

use std::collections::BTreeMap;

use base64::Engine as _;
use host::runtime::{Credential, Image, ImageError, PullRequest};
use k8s_openapi::api::core::v1::{Pod, Secret};
use podsync::{
    events,
    observed::{ImageFacts, ImageSeen},
    restart::BackOff,
};
use serde::Deserialize;

use crate::shared::Shared;

/// What is to be pulled for whom.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) attempt: u32,
    pub(crate) reference: String,
    pub(crate) policy: String,
    pub(crate) field_path: String,
    pub(crate) back_off: BackOff,
}

/// Makes sure of the image and says what came of it.
pub(crate) async fn pull(shared: &Shared, pod: &Pod, wish: Wish) -> ImageSeen {
    let Wish { attempt, reference, policy, field_path, back_off } = wish;
    let failed = |reason: &str, message: String| {
        let at = shared.clock.now();
        ImageSeen::Failed { reason: reason.to_owned(), message, at, back_off: back_off.grown(at) }
    };
    if policy != "Always" {
        match shared.runtime.image(&reference).await {
            Ok(Some(image)) => {
                shared.recorder.note(pod, events::present(&field_path, &reference));
                return ImageSeen::Ready { attempt, image: facts(&image, &reference) };
            }
            Ok(None) if policy == "Never" => {
                let message = format!(
                    "Container image \"{reference}\" is not present with pull policy of Never"
                );
                let event = events::warning("ErrImageNeverPull", &field_path, message.clone());
                shared.recorder.note(pod, event);
                return failed("ErrImageNeverPull", message);
            }
            Ok(None) => {}
            Err(error) => return refused(shared, pod, &field_path, &reference, &error, failed),
        }
    }
    shared.recorder.note(pod, events::pulling(&field_path, &reference));
    let began = shared.clock.now();
    let credentials = credentials(shared, pod);
    let request = PullRequest { reference: reference.clone(), credentials };
    match shared.runtime.pull(request).await {
        Ok(image) => {
            let ms = shared.clock.now().duration_since(began).as_millis();
            let ms = u64::try_from(ms).unwrap_or(0);
            let event = events::pulled(&field_path, &reference, ms, ms, image.size_bytes);
            shared.recorder.note(pod, event);
            ImageSeen::Ready { attempt, image: facts(&image, &reference) }
        }
        Err(error) => refused(shared, pod, &field_path, &reference, &error, failed),
    }
}

fn refused(
    shared: &Shared,
    pod: &Pod,
    field_path: &str,
    reference: &str,
    error: &ImageError,
    failed: impl Fn(&str, String) -> ImageSeen,
) -> ImageSeen {
    let text = crate::shared::chain(error);
    if let ImageError::Name { .. } = error {
        let message = format!("Failed to apply default image tag \"{reference}\": {text}");
        let event = events::warning("InspectFailed", field_path, message.clone());
        shared.recorder.note(pod, event);
        return failed("InvalidImageName", message);
    }
    shared.recorder.note(pod, events::pull_failed(field_path, reference, &text));
    failed("ErrImagePull", text)
}

fn facts(image: &Image, reference: &str) -> ImageFacts {
    let last = reference.rsplit('/').next().unwrap_or("");
    let named = image
        .tags
        .iter()
        .find(|tag| tag.ends_with(last) || tag.ends_with(&format!("{last}:latest")));
    ImageFacts {
        id: image.id.clone(),
        reference: image.digests.first().unwrap_or(&image.id).clone(),
        name: named.or_else(|| image.tags.first()).cloned().unwrap_or_else(|| reference.to_owned()),
        user: image.user.clone(),
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
}

fn credentials(shared: &Shared, pod: &Pod) -> Vec<Credential> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
    let names = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    let mut all = Vec::new();
    for reference in names {
        match shared.secrets.get(namespace, &reference.name) {
            Some(secret) => all.extend(of_secret(&secret)),
            None => {
                let message = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    reference.name
                );
                let event = events::warning("FailedToRetrieveImagePullSecret", "", message);
                shared.recorder.note(pod, event);
            }
        }
    }
    all
}

/// The logins of a docker config, old form or new.
fn of_secret(secret: &Secret) -> Vec<Credential> {
    let Some(all) = &secret.data else { return Vec::new() };
    let auths = if let Some(bytes) = all.get(".dockerconfigjson") {
        serde_json::from_slice::<DockerConfig>(&bytes.0).map(|config| config.auths)
    } else if let Some(bytes) = all.get(".dockercfg") {
        serde_json::from_slice(&bytes.0)
    } else {
        return Vec::new();
    };
    let auths = auths.unwrap_or_else(|error| {
        tracing::warn!(%error, name = secret.metadata.name, "an image pull secret is no docker config");
        BTreeMap::new()
    });
    auths
        .into_iter()
        .map(|(registry, auth)| {
            let decoded = base64::engine::general_purpose::STANDARD.decode(auth.auth.as_bytes());
            let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let (username, password) =
                match decoded.as_deref().and_then(|text| text.split_once(':')) {
                    Some((user, password)) if auth.username.is_empty() => {
                        (user.to_owned(), password.to_owned())
                    }
                    _ => (auth.username, auth.password),
                };
            Credential { registry, username, password }
        })
        .collect()
}
