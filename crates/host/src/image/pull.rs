//! Images from registries: HTTPS everywhere, plain HTTP to this machine's loopback only.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{StreamExt, TryStreamExt, stream};
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    manifest::OciDescriptor,
    secrets::RegistryAuth,
};

use super::{
    Fault, Images, Name,
    archive::{Descriptor, Manifest, pair},
    config::Document,
    credentials::matching,
    refusal::{Asked, Stage, chain, is_about_login},
    store::Stored,
    stream::digest,
};
use crate::runtime::{Image, ImageError, PullRequest};

/// A registry that does not take the connection within this time is not there.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// A registry that sends nothing for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Layers fetched at once, as containerd does.
const LAYERS_AT_ONCE: usize = 3;

/// What manifests a registry may answer with.
const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

impl Images {
    /// Fetches what the registry has under this name now, with the first credentials that it takes.
    ///
    /// Layers that are here are not fetched again. Two pulls of one name take turns.
    ///
    /// # Errors
    /// [`ImageError::Name`], [`ImageError::Refused`], [`ImageError::Unreachable`],
    /// [`ImageError::Platform`], [`ImageError::System`].
    pub async fn pull(&self, request: &PullRequest, now: SystemTime) -> Result<Image, ImageError> {
        let name = Name::parse(&request.reference)?;
        let turn = self.turn(&name.to_string());
        let _turn = turn.lock().await;
        let mut logins: Vec<RegistryAuth> = matching(&request.credentials, &name)
            .into_iter()
            .map(|found| RegistryAuth::Basic(found.username.clone(), found.password.clone()))
            .collect();
        if logins.is_empty() {
            logins.push(RegistryAuth::Anonymous);
        }
        let mut result = Err(ImageError::Absent(name.to_string()));
        for login in logins {
            result = self.pull_as(&name, login, now).await;
            // Only a refused login makes the next one worth a try.
            if !result.as_ref().is_err_and(is_about_login) {
                break;
            }
        }
        result
    }

    /// The lock of one name; those that nobody waits for are forgotten.
    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut pulls = self.store.pulls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pulls.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(pulls.entry(name.to_owned()).or_default())
    }

    async fn pull_as(
        &self,
        name: &Name,
        login: RegistryAuth,
        now: SystemTime,
    ) -> Result<Image, ImageError> {
        let pull = Pull::new(self, name, login)?;
        let (manifests, digests, manifest) = pull.manifest().await?;
        let reference = name.to_string();
        let fault = |fault: Fault| fault.of_reference(&reference);
        let wanted = manifest
            .config
            .as_ref()
            .ok_or_else(|| fault(Fault::Bad("its manifest names no config".to_owned())))?;
        let tag = name.digest.is_none().then(|| reference.clone());
        let digests: Vec<String> =
            digests.into_iter().map(|it| format!("{}@{it}", name.familiar())).collect();
        let known = self.store.name_again(&wanted.digest, tag.clone(), digests.clone(), now);
        if let Some(image) = known.map_err(fault)? {
            return Ok(image);
        }
        let mut config = Vec::new();
        pull.blob(&wanted.digest, &mut config).await?;
        let document = Document::read(&config).map_err(fault)?;
        document.check_platform().map_err(fault)?;
        let diff_ids = document.diff_ids().to_vec();
        let _wanted = self.store.want(&diff_ids);
        let layers = pair(&diff_ids, manifest.layers.unwrap_or_default()).map_err(fault)?;
        stream::iter(layers.map(|(layer, diff_id)| pull.layer(layer, diff_id)))
            .buffer_unordered(LAYERS_AT_ONCE)
            .try_collect::<()>()
            .await?;
        let tags = tag.into_iter().collect();
        let stored = Stored { config, manifests, tags, digests, pulled: true };
        let images = self.clone();
        let added = tokio::task::spawn_blocking(move || images.store.add(vec![stored], now))
            .await
            .map_err(|error| pull.system(error.into()))?;
        added.map_err(fault)?.pop().ok_or_else(|| ImageError::Absent(reference.clone()))
    }
}

/// One pull under one login.
struct Pull<'a> {
    images: &'a Images,
    name: &'a Name,
    reference: Reference,
    client: Client,
    login: RegistryAuth,
}

impl<'a> Pull<'a> {
    fn new(images: &'a Images, name: &'a Name, login: RegistryAuth) -> Result<Self, ImageError> {
        // The client takes the process's provider of cryptography; a second install changes nothing.
        if rustls::crypto::CryptoProvider::get_default().is_none()
            && rustls::crypto::ring::default_provider().install_default().is_err()
        {
            tracing::debug!("another thread installed the provider of cryptography first");
        }
        let protocol =
            if name.is_loopback() { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_MAX),
            read_timeout: Some(SILENCE_MAX),
            user_agent: concat!("stead/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let reference = match (&name.digest, &name.tag) {
            (Some(digest), _) => Reference::with_digest(
                name.registry.clone(),
                name.repository.clone(),
                digest.clone(),
            ),
            (None, tag) => Reference::with_tag(
                name.registry.clone(),
                name.repository.clone(),
                tag.clone().unwrap_or_else(|| "latest".to_owned()),
            ),
        };
        let client = Client::try_from(config).map_err(|error| ImageError::Unreachable {
            reference: name.to_string(),
            why: format!(
                "no TLS client could be made (is ca-certificates installed?): {}",
                chain(&error)
            ),
        })?;
        Ok(Self { images, name, reference, client, login })
    }

    /// The manifest for this machine, with every manifest and digest on the way to it.
    async fn manifest(&self) -> Result<(Vec<Vec<u8>>, Vec<String>, Manifest), ImageError> {
        let top = self.raw_manifest(&self.reference).await?;
        let reference = self.name.to_string();
        let fault = |fault: Fault| fault.of_reference(&reference);
        let manifest = Manifest::read(&top).map_err(fault)?;
        let top_digest = digest(&top);
        if self.name.digest.as_ref().is_some_and(|wanted| *wanted != top_digest) {
            let why = format!("the registry sent a manifest with digest {top_digest}");
            return Err(fault(Fault::Bad(why)));
        }
        if manifest.manifests.is_none() {
            return Ok((vec![top], vec![top_digest], manifest));
        }
        let chosen = manifest.for_this_node().map_err(fault)?;
        let exact = self.reference.clone_with_digest(chosen.digest.clone());
        let own = self.raw_manifest(&exact).await?;
        if digest(&own) != chosen.digest {
            let why = format!("the registry sent a manifest that is not {}", chosen.digest);
            return Err(fault(Fault::Bad(why)));
        }
        let manifest = Manifest::read(&own).map_err(fault)?;
        let digests = vec![top_digest, chosen.digest.clone()];
        Ok((vec![top, own], digests, manifest))
    }

    async fn raw_manifest(&self, reference: &Reference) -> Result<Vec<u8>, ImageError> {
        self.client
            .pull_manifest_raw(reference, &self.login, &ACCEPTED)
            .await
            .map(|(bytes, _)| bytes.to_vec())
            .map_err(|error| self.refusal(&error, Stage::Resolve))
    }

    async fn blob(&self, digest: &str, into: impl tokio::io::AsyncWrite) -> Result<(), ImageError> {
        let descriptor = OciDescriptor { digest: digest.to_owned(), ..OciDescriptor::default() };
        self.client
            .pull_blob(&self.reference, &descriptor, into)
            .await
            .map_err(|error| self.refusal(&error, Stage::Copy))
    }

    async fn layer(&self, layer: Descriptor, diff_id: String) -> Result<(), ImageError> {
        if layer.media_type.contains("foreign") || layer.media_type.contains("nondistributable") {
            let why = format!("its layer {} may not be distributed", layer.digest);
            return Err(Fault::Bad(why).of_reference(&self.name.to_string()));
        }
        if self.images.store.has_layer(&diff_id) {
            return Ok(());
        }
        let temporary = self.images.store.temporary();
        let file = tokio::fs::File::create(&temporary).await.map_err(|error| self.system(error))?;
        let fetched = self.blob(&layer.digest, file).await;
        let images = self.images.clone();
        let reference = self.name.to_string();
        let unpacked = tokio::task::spawn_blocking(move || {
            let unpacked = fetched.and_then(|()| {
                std::fs::File::open(&temporary)
                    .map_err(|source| Fault::system(temporary.display(), source))
                    .and_then(|file| images.store.add_layer(file, Some(&diff_id)))
                    .map_err(|fault| fault.of_reference(&reference))
            });
            let removed = std::fs::remove_file(&temporary).map_err(|source| {
                Fault::system(temporary.display(), source).of_reference(&reference)
            });
            unpacked.and(removed)
        });
        unpacked.await.map_err(|error| self.system(error.into()))?
    }

    fn system(&self, source: io::Error) -> ImageError {
        ImageError::System { what: format!("pulling {}", self.name), source }
    }

    /// The registry's answer in containerd's words, which events quote.
    fn refusal(&self, error: &OciDistributionError, stage: Stage) -> ImageError {
        let with_login = matches!(self.login, RegistryAuth::Basic(..));
        Asked { name: self.name, stage, with_login }.refusal(error)
    }
}
