//! One cluster in one process: every room opened in order, and closed again.
//!
//! ```text
//!   store ─▶ API server ─▶ bootstrap ─▶ HTTPS on 127.0.0.1, gateway, --bind
//!                └─ in-process clients ─▶ manager, agent, dns
//!   keepers, images, bridge (host) ─▶ agent
//! ```

use std::{
    collections::BTreeMap,
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use agent::{Agent, Clock};
use anyhow::{Context as _, Result, bail};
use api::{
    Object,
    k8s::{
        api::{core::v1::Node, storage::v1::StorageClass},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    resource,
};
use apiserver::{
    ApiServer, Bootstrap, Lookup, Options, Plugins, Ranges, System,
    access::{
        AccessControl, CertificateSubject, Directory, Kubeconfig, Pki, User, bootstrap_objects,
        server_config,
    },
};
use cli::{
    Instance,
    args::{Cidr, Up},
};
use client::Identity;
use controllers::nodes::lifecycle::PodNetwork;
use host::{
    keepers::KeeperOptions,
    net::{Network, NetworkConfig},
    node::Node as Machine,
};
use jiff::Timestamp;
use rustls::ServerConfig;
use store::{DiskJournal, DiskOptions, Store};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::seat;

/// A cluster that answers.
pub(crate) struct House {
    server: ApiServer,
    store: Store,
    manager: manager::Handle,
    tasks: JoinSet<Result<()>>,
    stop: watch::Sender<bool>,
}

/// Where things are, decided before anything is opened.
struct Plan {
    /// The node's part of the pod network.
    pods: Cidr,
    gateway: Ipv4Addr,
    dns: Ipv4Addr,
    node: String,
    /// Addresses that API server and kubelet listen on.
    listen: Vec<IpAddr>,
}

impl Plan {
    fn of(flags: &Up) -> Result<Self> {
        let pods = Cidr { base: flags.pod_cidr.base, prefix: 24.max(flags.pod_cidr.prefix) };
        let gateway = pods.nth(1).context("the pod network has no addresses")?;
        let tenth = flags.service_cidr.nth(10).context("the service network is too small")?;
        let node = match &flags.node_name {
            Some(name) => name.clone(),
            None => nix::unistd::gethostname()?.to_string_lossy().to_lowercase(),
        };
        let mut listen = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(gateway)];
        for address in &flags.bind {
            if !listen.contains(address) {
                listen.push(*address);
            }
        }
        if listen.iter().any(IpAddr::is_unspecified) {
            listen.retain(IpAddr::is_unspecified);
        }
        Ok(Self { pods, gateway, dns: flags.dns_ip.unwrap_or(tenth), node, listen })
    }

    /// The names and addresses under which the servers may be called.
    fn names(&self, flags: &Up) -> Vec<String> {
        let mut names: Vec<String> = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            &self.node,
        ]
        .map(str::to_owned)
        .to_vec();
        names.extend(flags.service_cidr.nth(1).map(|first| first.to_string()));
        names.push("127.0.0.1".to_owned());
        names.push(self.gateway.to_string());
        names.extend(flags.bind.iter().filter(|ip| !ip.is_unspecified()).map(IpAddr::to_string));
        names.dedup();
        names
    }
}

impl House {
    /// Opens everything; returns once the API answers on 127.0.0.1.
    pub(crate) async fn open(instance: &Instance, flags: &Up) -> Result<Self> {
        let plan = Plan::of(flags)?;
        let local = listen(IpAddr::V4(Ipv4Addr::LOCALHOST), flags.port, "--port").await?;
        let kubelet =
            listen(IpAddr::V4(Ipv4Addr::LOCALHOST), flags.kubelet_port, "--kubelet-port").await?;
        let directory = Arc::new(Directory::default());
        let store = open_store(instance, directory.clone())?;
        let pki = Pki::open(&instance.pki(), Timestamp::now())?;
        let url = format!("https://127.0.0.1:{}", flags.port);
        let access = Arc::new(AccessControl::new(
            directory,
            Arc::new(System::new()),
            pki.token_key_pem(),
            &url,
        )?);
        let lookup = Lookup::new(store.clone());
        let mut options = Options::new(access.clone(), access.clone(), access.clone());
        let ambient = options.ambient.clone();
        options.admission.push(Arc::new(Plugins::new(store.clone(), ambient)));
        options.admission.push(access);
        options.ranges = Ranges {
            base: flags.service_cidr.base,
            prefix_bits: flags.service_cidr.prefix,
            node_ports: flags.node_port_range.first..=flags.node_port_range.last,
        };
        let version = options.version.git_version.clone();
        let server = ApiServer::new(store.clone(), options);
        let mut objects = bootstrap_objects();
        objects.push(Box::new(local_path()));
        let advertise = SocketAddr::from((plan.gateway, flags.port));
        server.bootstrap(Bootstrap { advertise, objects }).await?;
        let (stop, stopped) = watch::channel(false);
        let mut house = Self {
            manager: start_manager(&server, flags, &plan, pki.ca_pem()),
            server,
            store,
            tasks: JoinSet::new(),
            stop,
        };
        let tls = Arc::new(house.credentials(instance, flags, &plan, &pki, &url)?);
        house.serve_api(local, tls.clone(), &stopped);
        house.run_background(&stopped);
        let machine = open_machine(instance).await?;
        let network = connect(&machine, instance, flags, &plan, &lookup)?;
        for address in plan.listen.iter().filter(|address| !address.is_loopback()) {
            let listener = listen(*address, flags.port, "--port").await?;
            house.serve_api(listener, tls.clone(), &stopped);
        }
        house.run_agent(instance, flags, &plan, machine, version)?;
        drop((kubelet, network, tls));
        Ok(house)
    }

    /// Writes the administrator's kubeconfig and gives the server's TLS.
    fn credentials(
        &self,
        instance: &Instance,
        flags: &Up,
        plan: &Plan,
        pki: &Pki,
        url: &str,
    ) -> Result<ServerConfig> {
        let now = Timestamp::now();
        let serving = CertificateSubject::server("kube-apiserver", &plan.names(flags));
        let serving = pki.credential("apiserver", &serving, now)?;
        let admin = pki.credential("admin", &CertificateSubject::admin(), now)?;
        let context = instance.context();
        let kubeconfig = Kubeconfig {
            context: &context,
            server: url,
            ca_pem: pki.ca_pem(),
            user_name: &context,
            user: User::Certificate {
                certificate_pem: &admin.certificate_pem,
                key_pem: &admin.key_pem,
            },
        };
        seat::write_private(&instance.kubeconfig(), &kubeconfig.text())?;
        Ok(server_config(pki.ca_pem(), &serving)?)
    }

    fn serve_api(
        &mut self,
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        stopped: &watch::Receiver<bool>,
    ) {
        let server = self.server.clone();
        let until = until(stopped);
        self.tasks.spawn(async move {
            server.serve(listener, tls, until).await;
            Ok(())
        });
    }

    fn run_background(&mut self, stopped: &watch::Receiver<bool>) {
        let server = self.server.clone();
        let until = until(stopped);
        self.tasks.spawn(async move {
            server.background(until).await;
            Ok(())
        });
    }

    fn run_agent(
        &mut self,
        instance: &Instance,
        flags: &Up,
        plan: &Plan,
        machine: Machine,
        version: String,
    ) -> Result<()> {
        let config = agent::Config {
            node: plan.node.clone(),
            addresses: vec![IpAddr::V4(plan.gateway)],
            kubelet_port: flags.kubelet_port,
            data: instance.node(),
            logs: instance.node().join("logs"),
            cluster_dns: vec![IpAddr::V4(plan.dns)],
            cluster_domain: "cluster.local".to_owned(),
            version,
            pods_max: 110,
            labels: BTreeMap::new(),
        };
        let client = client::in_process(self.server.clone(), Identity::node(&plan.node));
        let agent = Agent::new(config, Arc::new(machine), client, Clock::system())?;
        self.tasks.spawn(async move { Ok(agent.run().await?) });
        Ok(())
    }

    /// Runs until `asked` or until a room breaks, then closes everything but the pods.
    pub(crate) async fn run(mut self, asked: impl Future<Output = ()>) -> Result<()> {
        let mut result = Ok(());
        tokio::select! {
            () = asked => (),
            Some(ended) = self.tasks.join_next() => {
                result = ended.context("a part of stead panicked").flatten();
                if result.is_ok() {
                    result = Err(anyhow::anyhow!("a part of stead ended by itself"));
                }
            }
        }
        self.stop.send_replace(true);
        self.manager.stop().await;
        self.tasks.shutdown().await;
        self.store.close().await;
        result
    }
}

fn until(stopped: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stopped = stopped.clone();
    async move {
        // A sender that is gone means the end, too.
        drop(stopped.wait_for(|stopped| *stopped).await);
    }
}

async fn listen(address: IpAddr, port: u16, flag: &str) -> Result<TcpListener> {
    match TcpListener::bind((address, port)).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("port {port} on {address} is taken: choose another with {flag}")
        }
        Err(error) => Err(error).with_context(|| format!("could not listen on {address}:{port}")),
    }
}

fn open_store(instance: &Instance, directory: Arc<Directory>) -> Result<Store> {
    let journal = DiskJournal::open(&instance.store(), DiskOptions::default())?;
    let options = store::Options { observer: Some(directory), ..store::Options::default() };
    Ok(Store::open(journal, options)?)
}

async fn open_machine(instance: &Instance) -> Result<Machine> {
    Ok(Machine::open(keeper_options(instance)).await?)
}

/// Where this cluster's keepers are.
pub(crate) fn keeper_options(instance: &Instance) -> KeeperOptions {
    let tag = instance.tag();
    KeeperOptions {
        data_dir: instance.node(),
        run_dir: std::path::Path::new("/run/stead").join(&tag),
        cgroup: format!("stead-{tag}"),
        program: None,
    }
}

/// Makes the bridge with the addresses that the node's record says, or will say: the first node
/// of a cluster gets the first part of its pod network.
fn connect(
    machine: &Machine,
    instance: &Instance,
    flags: &Up,
    plan: &Plan,
    lookup: &Lookup,
) -> Result<Network> {
    let recorded = lookup.get::<Node>("", &plan.node).and_then(|node| node.spec?.pod_cidr);
    let wanted = plan.pods.to_string();
    if let Some(recorded) = recorded.filter(|recorded| *recorded != wanted) {
        bail!(
            "node {} has the pod addresses {recorded}, not {wanted}: start with the --pod-cidr that it was made with",
            plan.node
        );
    }
    let config = NetworkConfig {
        instance: instance.tag(),
        pods: wanted.parse()?,
        services: flags.service_cidr.to_string().parse()?,
        mtu: None,
    };
    Ok(machine.connect(config)?)
}

fn start_manager(server: &ApiServer, flags: &Up, plan: &Plan, ca_pem: &str) -> manager::Handle {
    let seed = u64::from(std::process::id())
        ^ u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0);
    let mut options = manager::Options::new(ca_pem, seed);
    options.pods = PodNetwork {
        base: flags.pod_cidr.base,
        prefix: flags.pod_cidr.prefix,
        node_prefix: plan.pods.prefix,
    };
    options.dns = Some(manager::Dns {
        cluster_ip: IpAddr::V4(plan.dns),
        server: IpAddr::V4(plan.gateway),
        port: 53,
    });
    let clients = |name: &str| client::in_process(server.clone(), manager::identity(name));
    manager::Manager::start(clients, &options)
}

/// The class that makes a folder on the node for each claim.
fn local_path() -> StorageClass {
    let default = ("storageclass.kubernetes.io/is-default-class".to_owned(), "true".to_owned());
    let mut class = StorageClass {
        metadata: ObjectMeta {
            name: Some("local-path".to_owned()),
            annotations: Some(BTreeMap::from([default])),
            ..ObjectMeta::default()
        },
        provisioner: controllers::volumes::LOCAL_PROVISIONER.to_owned(),
        reclaim_policy: Some("Delete".to_owned()),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        allow_volume_expansion: Some(true),
        ..StorageClass::default()
    };
    resource::of::<StorageClass>().apply_defaults(&mut class as &mut dyn Object);
    class
}
