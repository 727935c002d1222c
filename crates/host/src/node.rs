//! The runtime of this crate: keepers, image store and pod network behind the words of
//! [`Runtime`].

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt, future::BoxFuture, stream::BoxStream};

use crate::{
    image::{Images, Unused},
    keepers::{KeeperOptions, Keepers, RootImage},
    net::{Addresses, Network, NetworkConfig, NetworkError},
    runtime::{
        ContainerConfig, ContainerState, Exec, ExecConfig, Image, ImageError, PodConfig, PodState,
        PullRequest, Runtime, RuntimeError, Streams, Usage,
    },
};

/// A node's containers, images and pod network. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    keepers: Keepers,
    images: Images,
    network: Arc<Mutex<Option<Connected>>>,
}

/// The network, once the node knows its block of addresses.
#[derive(Debug)]
struct Connected {
    network: Network,
    addresses: Addresses,
}

fn sandbox(error: &NetworkError) -> RuntimeError {
    RuntimeError::Sandbox(format!("failed to create pod sandbox: failed to setup network: {error}"))
}

impl Node {
    /// Opens keepers and images; the images' folder is `images` below the data folder.
    ///
    /// # Errors
    /// [`RuntimeError`] names the folder or the kernel facility.
    pub async fn open(options: KeeperOptions) -> Result<Self, RuntimeError> {
        let images = Images::open(&options.data_dir.join("images"));
        let images = images.map_err(|error| RuntimeError::System {
            what: "open images".to_owned(),
            source: std::io::Error::other(error.to_string()),
        })?;
        let keepers = Keepers::open(options).await?;
        Ok(Self { keepers, images, network: Arc::default() })
    }

    /// Its keepers.
    #[must_use]
    pub fn keepers(&self) -> &Keepers {
        &self.keepers
    }

    /// Its images.
    #[must_use]
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Its network, once [`Node::connect`] has made it.
    #[must_use]
    pub fn network(&self) -> Option<Network> {
        self.lock().as_ref().map(|connected| connected.network.clone())
    }

    /// Makes the pod network, or finds it, and connects the pods that live to it again. Until
    /// then only pods on the node's own network can run. Safe to repeat.
    ///
    /// # Errors
    /// [`NetworkError`]; a pod that cannot be connected again is told to the log.
    pub fn connect(&self, config: NetworkConfig) -> Result<Network, NetworkError> {
        let mut addresses = Addresses::new(config.pods);
        let network = Network::up(config)?;
        for pod in self.keepers.pods() {
            for address in pod.addresses.iter().filter_map(v4) {
                if !pod.alive {
                    continue;
                }
                if !addresses.adopt(address, &pod.uid) {
                    tracing::warn!(uid = pod.uid, %address, "two pods have this address");
                }
                let Some(namespace) = self.keepers.network(&pod.uid) else { continue };
                if let Err(error) = network.attach(namespace.as_fd(), &pod.uid, address) {
                    tracing::warn!(uid = pod.uid, %error, "pod is not connected");
                }
            }
        }
        *self.lock() = Some(Connected { network: network.clone(), addresses });
        Ok(network)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connected>> {
        // A panic elsewhere leaves it whole: every change is one assignment.
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate(&self, config: &PodConfig) -> Result<Option<(Network, Ipv4Addr)>, RuntimeError> {
        if config.host_network {
            return Ok(None);
        }
        let mut network = self.lock();
        let connected = network.as_mut().ok_or_else(|| {
            RuntimeError::Sandbox(
                "network is not ready: this node has no block of pod addresses yet".to_owned(),
            )
        })?;
        let address = match config.address.as_ref().and_then(v4) {
            Some(address) if connected.addresses.adopt(address, &config.uid) => address,
            Some(address) => {
                let taken = format!("pod address {address} is taken");
                return Err(RuntimeError::Sandbox(taken));
            }
            None => connected.addresses.allocate(&config.uid).map_err(|e| sandbox(&e))?,
        };
        Ok(Some((connected.network.clone(), address)))
    }

    fn release(&self, uid: &str) {
        if let Some(connected) = self.lock().as_mut() {
            connected.addresses.release(uid);
        }
    }

    async fn run(&self, config: PodConfig) -> Result<PodState, RuntimeError> {
        let uid = config.uid.clone();
        if let Some(state) = self.keepers.pod(&uid).filter(|state| state.alive) {
            return Ok(state);
        }
        let place = self.allocate(&config)?;
        let addresses = place.iter().map(|(_, address)| IpAddr::V4(*address)).collect();
        let made = self.keepers.run_pod(config, addresses).await;
        let (state, namespace) = made.inspect_err(|_| self.release(&uid))?;
        let (Some((network, address)), Some(namespace)) = (place, namespace) else {
            return Ok(state);
        };
        let pod = uid.clone();
        let attached = tokio::task::spawn_blocking(move || {
            network.attach(namespace.as_fd(), &pod, address).map_err(|error| sandbox(&error))
        });
        let attached = attached.await.unwrap_or_else(|error| {
            Err(RuntimeError::Sandbox(format!("connecting the pod ended: {error}")))
        });
        if let Err(error) = attached {
            // A pod without its network must not be found alive by the next try.
            self.keepers.stop_pod(&uid).await?;
            self.release(&uid);
            return Err(error);
        }
        Ok(state)
    }

    async fn start(
        &self,
        uid: &str,
        config: ContainerConfig,
    ) -> Result<ContainerState, RuntimeError> {
        let absent = |_| RuntimeError::NoImage(config.image.clone());
        let layers = self.images.layers(&config.image_id).map_err(absent)?;
        let image = self.images.config(&config.image_id).map_err(absent)?;
        let root = RootImage {
            layers,
            user: image.user,
            env: image.env,
            entrypoint: image.entrypoint,
            cmd: image.cmd,
            working_dir: image.working_dir,
            stop_signal: image.stop_signal,
        };
        self.images.note_used([config.image_id.as_str()], crate::keeper::now());
        self.keepers.start_container(uid, config, &root).await
    }

    /// Which container uses which image, by the image's id.
    #[must_use]
    pub fn image_users(&self) -> BTreeMap<String, String> {
        let mut users = BTreeMap::new();
        for pod in self.keepers.pods() {
            for container in pod.containers {
                let user = format!("{}/{}/{}", pod.namespace, pod.name, container.name);
                users.insert(container.image_id, user);
            }
        }
        users
    }
}

fn v4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

impl Runtime for Node {
    fn run_pod(&self, config: PodConfig) -> BoxFuture<'_, Result<PodState, RuntimeError>> {
        self.run(config).boxed()
    }

    fn stop_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let uid = uid.to_owned();
        async move {
            self.keepers.stop_pod(&uid).await?;
            self.release(&uid);
            Ok(())
        }
        .boxed()
    }

    fn remove_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let uid = uid.to_owned();
        async move {
            self.keepers.remove_pod(&uid).await?;
            self.release(&uid);
            Ok(())
        }
        .boxed()
    }

    fn pods(&self) -> BoxFuture<'_, Result<Vec<PodState>, RuntimeError>> {
        async { Ok(self.keepers.pods()) }.boxed()
    }

    fn start_container(
        &self,
        pod_uid: &str,
        config: ContainerConfig,
    ) -> BoxFuture<'_, Result<ContainerState, RuntimeError>> {
        let uid = pod_uid.to_owned();
        async move { self.start(&uid, config).await }.boxed()
    }

    fn stop_container(
        &self,
        pod_uid: &str,
        container_id: &str,
        signal: Option<i32>,
        grace_s: u64,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let (uid, id) = (pod_uid.to_owned(), container_id.to_owned());
        async move { self.keepers.stop_container(&uid, &id, signal, grace_s).await }.boxed()
    }

    fn remove_container(
        &self,
        pod_uid: &str,
        container_id: &str,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let (uid, id) = (pod_uid.to_owned(), container_id.to_owned());
        async move { self.keepers.remove_container(&uid, &id).await }.boxed()
    }

    fn exec(
        &self,
        pod_uid: &str,
        container_id: &str,
        config: ExecConfig,
    ) -> BoxFuture<'_, Result<Exec, RuntimeError>> {
        let (uid, id) = (pod_uid.to_owned(), container_id.to_owned());
        async move { self.keepers.exec(&uid, &id, config).await }.boxed()
    }

    fn attach(
        &self,
        pod_uid: &str,
        container_id: &str,
    ) -> BoxFuture<'_, Result<Streams, RuntimeError>> {
        let (uid, id) = (pod_uid.to_owned(), container_id.to_owned());
        async move { self.keepers.attach(&uid, &id).await }.boxed()
    }

    fn dial(&self, pod_uid: &str, port: u16) -> BoxFuture<'_, Result<OwnedFd, RuntimeError>> {
        let uid = pod_uid.to_owned();
        async move { self.keepers.dial(&uid, port).await }.boxed()
    }

    fn resize(
        &self,
        pod_uid: &str,
        container_id: &str,
        exec_id: Option<&str>,
        columns: u16,
        rows: u16,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let (uid, id) = (pod_uid.to_owned(), container_id.to_owned());
        let exec = exec_id.map(ToOwned::to_owned);
        async move { self.keepers.resize(&uid, &id, exec.as_deref(), columns, rows).await }.boxed()
    }

    fn usage(&self, pod_uid: &str) -> BoxFuture<'_, Result<Vec<Usage>, RuntimeError>> {
        let uid = pod_uid.to_owned();
        async move { self.keepers.usage(&uid) }.boxed()
    }

    fn wakes(&self) -> BoxStream<'static, String> {
        self.keepers.wakes()
    }

    fn pull(&self, request: PullRequest) -> BoxFuture<'_, Result<Image, ImageError>> {
        async move { self.images.pull(&request, crate::keeper::now()).await }.boxed()
    }

    fn image(&self, reference: &str) -> BoxFuture<'_, Result<Option<Image>, ImageError>> {
        let reference = reference.to_owned();
        async move { self.images.image(&reference) }.boxed()
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        async { Ok(self.images.images()) }.boxed()
    }

    fn import(&self, file: PathBuf) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        async move { self.images.import(file, crate::keeper::now()).await }.boxed()
    }

    fn unused_images(&self) -> BoxFuture<'_, Result<Vec<Unused>, ImageError>> {
        async move {
            let users = self.image_users();
            self.images.note_used(users.keys().map(String::as_str), crate::keeper::now());
            Ok(self.images.unused(&users))
        }
        .boxed()
    }

    fn remove_image(&self, reference: &str) -> BoxFuture<'_, Result<(), ImageError>> {
        let reference = reference.to_owned();
        async move { self.images.remove(&reference, &self.image_users()) }.boxed()
    }
}
