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

use agent::{Agent, Clock, serve::Kubelet};
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
    ApiServer, Bootstrap, Lookup, Nodes, Options, Plugins, Ranges, System, Version,
    access::{
        AccessControl, CertificateSubject, Directory, Kubeconfig, Pki, User, bootstrap_objects,
        server_config,
    },
    kubelet_tls,
};
use cli::{
    Instance,
    args::{Cidr, Up},
};
use client::Identity;
use controllers::nodes::lifecycle::PodNetwork;
use dns::{Dns, DnsConfig};
use host::{
    keepers::KeeperOptions,
    net::{Network, NetworkConfig},
    nft::{Firewall, Ruleset},
    node::Node as Machine,
};
use jiff::Timestamp;
use rustls::{ClientConfig, ServerConfig};
use store::{DiskJournal, DiskOptions, Store};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::{role, seat};

/// The cluster's domain; upstream's default.
const DOMAIN: &str = "cluster.local";
/// Where DNS answers on the gateway.
const DNS_PORT: u16 = 53;

/// A cluster that answers.
pub(crate) struct House {
    server: ApiServer,
    store: Store,
    manager: manager::Handle,
    tasks: JoinSet<Result<()>>,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
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
    /// Opens everything; returns once the API answers on 127.0.0.1 and the node begins.
    pub(crate) async fn open(instance: &Instance, flags: &Up) -> Result<Self> {
        let plan = Plan::of(flags)?;
        let local = listen(IpAddr::V4(Ipv4Addr::LOCALHOST), flags.port, "--port").await?;
        let kubelet =
            listen(IpAddr::V4(Ipv4Addr::LOCALHOST), flags.kubelet_port, "--kubelet-port").await?;
        let directory = Arc::new(Directory::default());
        let store = open_store(instance, directory.clone())?;
        let pki = Pki::open(&instance.pki(), Timestamp::now())?;
        let credentials = Credentials::of(instance, flags, &plan, &pki)?;
        let server = open_server(flags, &plan, &store, directory, &pki, &credentials)?;
        let mut objects = bootstrap_objects();
        objects.push(Box::new(local_path()));
        let advertise = SocketAddr::from((plan.gateway, flags.port));
        server.bootstrap(Bootstrap { advertise, objects }).await?;
        let (stop, stopped) = watch::channel(false);
        let mut house = Self {
            manager: start_manager(&server, flags, &plan, pki.ca_pem())?,
            server,
            store,
            tasks: JoinSet::new(),
            stop,
            stopped,
        };
        let budgets = house.manager.budgets();
        house.server.also_shows(move || budgets.text());
        house.serve_api(local, &credentials);
        house.sweep();
        if let Err(error) = house.open_node(instance, flags, &plan, &credentials, kubelet).await {
            house.close().await;
            return Err(error);
        }
        Ok(house)
    }

    /// The node's half: keepers, bridge, DNS, agent, and the listeners on the bridge.
    async fn open_node(
        &mut self,
        instance: &Instance,
        flags: &Up,
        plan: &Plan,
        credentials: &Credentials,
        kubelet: TcpListener,
    ) -> Result<()> {
        let machine = Machine::open(keeper_options(instance)).await?;
        let keepers = machine.keepers().clone();
        let lookup = Lookup::new(self.store.clone());
        let network = connect(&machine, instance, flags, plan, &lookup)?;
        let config = DnsConfig {
            listen: vec![SocketAddr::from((plan.gateway, DNS_PORT))],
            domain: DOMAIN.to_owned(),
            service_address: IpAddr::V4(plan.dns),
            blocks: vec![
                flags.pod_cidr.to_string().parse()?,
                flags.service_cidr.to_string().parse()?,
            ],
            resolv_conf: "/etc/resolv.conf".into(),
            upstream_port: 53,
        };
        let dns = Dns::bind(&config).await.map_err(|error| match error.source.kind() {
            std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
                "port {DNS_PORT} on {} is taken: have the DNS server of this machine listen on its own addresses only",
                plan.gateway
            ),
            _ => error.into(),
        })?;
        let client = self.client(Identity::service_account("kube-dns"));
        self.tasks.spawn(async move {
            dns.run(client, seed()).await;
            Ok(())
        });
        let firewall = Firewall::open(&instance.tag())?;
        let agent = self.agent(instance, flags, plan, machine)?;
        let agent = agent.proxying(firewall, ruleset(flags, plan, &network)?);
        let api = agent.handle().kubelet();
        self.serve_kubelet(kubelet, api.clone(), credentials);
        for address in plan.listen.iter().filter(|address| !address.is_loopback()) {
            self.serve_api(listen(*address, flags.port, "--port").await?, credentials);
            let listener = listen(*address, flags.kubelet_port, "--kubelet-port").await?;
            self.serve_kubelet(listener, api.clone(), credentials);
        }
        self.tasks.spawn(async move { Ok(agent.run().await?) });
        let (administrator, node) = (self.client(role::administrator()), plan.node.clone());
        self.tasks.spawn(async move {
            role::run(administrator, node).await;
            Ok(())
        });
        // Last: a start that fails must not go on to write below its folder.
        tokio::spawn(async move {
            // The first pod tries again, and says why it does not start.
            if let Err(error) = keepers.prepare().await {
                tracing::warn!(%error, "the keepers' program could not be copied");
            }
        });
        Ok(())
    }

    fn client(&self, identity: Identity) -> client::kube::Client {
        client::in_process(self.server.clone(), identity)
    }

    fn serve_api(&mut self, listener: TcpListener, credentials: &Credentials) {
        let server = self.server.clone();
        let (tls, until) = (credentials.server.clone(), until(&self.stopped));
        self.tasks.spawn(async move {
            server.serve(listener, tls, until).await;
            Ok(())
        });
    }

    fn serve_kubelet(&mut self, listener: TcpListener, api: Kubelet, credentials: &Credentials) {
        let tls = TlsAcceptor::from(credentials.kubelet.clone());
        let stopped = self.stopped.clone();
        self.tasks.spawn(async move {
            api.serve(listener, tls, stopped).await;
            Ok(())
        });
    }

    /// Deletes Events that have had their time.
    fn sweep(&mut self) {
        let server = self.server.clone();
        let until = until(&self.stopped);
        self.tasks.spawn(async move {
            server.background(until).await;
            Ok(())
        });
    }

    fn agent(
        &self,
        instance: &Instance,
        flags: &Up,
        plan: &Plan,
        machine: Machine,
    ) -> Result<Agent> {
        let config = agent::Config {
            node: plan.node.clone(),
            addresses: vec![IpAddr::V4(plan.gateway)],
            kubelet_port: flags.kubelet_port,
            data: instance.node(),
            logs: instance.node().join("logs"),
            cluster_dns: vec![IpAddr::V4(plan.dns)],
            cluster_domain: DOMAIN.to_owned(),
            version: Version::default().git_version,
            pods_max: 110,
            labels: BTreeMap::new(),
        };
        let client = self.client(Identity::node(&plan.node));
        let provisioner = self.client(Identity::service_account("local-volume-provisioner"));
        let agent = Agent::new(config, Arc::new(machine), client, Clock::system())?;
        Ok(agent.reclaiming(provisioner))
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
        self.close().await;
        result
    }

    async fn close(mut self) {
        self.stop.send_replace(true);
        self.manager.stop().await;
        self.tasks.shutdown().await;
        self.store.close().await;
    }
}

/// What the servers show, and the API server shows to nodes.
struct Credentials {
    server: Arc<ServerConfig>,
    kubelet: Arc<ServerConfig>,
    client: ClientConfig,
}

impl Credentials {
    /// Makes or reads them, and writes the administrator's kubeconfig.
    fn of(instance: &Instance, flags: &Up, plan: &Plan, pki: &Pki) -> Result<Self> {
        let now = Timestamp::now();
        let names = plan.names(flags);
        let serving = CertificateSubject::server("kube-apiserver", &names);
        let serving = pki.credential("apiserver", &serving, now)?;
        let kubelet = CertificateSubject::server(&format!("system:node:{}", plan.node), &names);
        let kubelet = pki.credential("kubelet", &kubelet, now)?;
        let client =
            pki.credential("apiserver-kubelet-client", &CertificateSubject::kubelet_client(), now)?;
        let admin = pki.credential("admin", &CertificateSubject::admin(), now)?;
        let (context, url) = (instance.context(), url(flags));
        let kubeconfig = Kubeconfig {
            context: &context,
            server: &url,
            ca_pem: pki.ca_pem(),
            user_name: &context,
            user: User::Certificate {
                certificate_pem: &admin.certificate_pem,
                key_pem: &admin.key_pem,
            },
        };
        seat::write_private(&instance.kubeconfig(), &kubeconfig.text())?;
        Ok(Self {
            server: Arc::new(server_config(pki.ca_pem(), &serving)?),
            kubelet: Arc::new(server_config(pki.ca_pem(), &kubelet)?),
            client: kubelet_tls(pki.ca_pem(), &client.certificate_pem, &client.key_pem)?,
        })
    }
}

fn url(flags: &Up) -> String {
    format!("https://127.0.0.1:{}", flags.port)
}

fn open_server(
    flags: &Up,
    plan: &Plan,
    store: &Store,
    directory: Arc<Directory>,
    pki: &Pki,
    credentials: &Credentials,
) -> Result<ApiServer> {
    let ambient = Arc::new(System::new());
    let access = AccessControl::new(directory, ambient.clone(), pki.token_key_pem(), &url(flags))?;
    let access = Arc::new(access);
    let mut options = Options::new(access.clone(), access.clone(), access.clone());
    options.admission = vec![Arc::new(Plugins::new(store.clone(), ambient)), access];
    options.ranges = Ranges {
        base: flags.service_cidr.base,
        prefix_bits: flags.service_cidr.prefix,
        node_ports: flags.node_port_range.first..=flags.node_port_range.last,
    };
    let near = SocketAddr::from((Ipv4Addr::LOCALHOST, flags.kubelet_port));
    let nodes = Nodes::new(Lookup::new(store.clone()), credentials.client.clone());
    options.gates.max_unavailable_stateful_set = flags.max_unavailable_stateful_set();
    options.connect = Some(Arc::new(nodes.near(plan.node.clone(), near)));
    Ok(ApiServer::new(store.clone(), options))
}

/// All of the firewall but the rules of Services.
fn ruleset(flags: &Up, plan: &Plan, network: &Network) -> Result<Ruleset> {
    let mut answering = vec![Ipv4Addr::LOCALHOST, plan.gateway];
    answering.extend(flags.bind.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }));
    let everywhere = answering.iter().any(Ipv4Addr::is_unspecified);
    Ok(Ruleset {
        bridge: network.bridge().to_owned(),
        pods: network.config().pods,
        cluster: flags.pod_cidr.to_string().parse()?,
        services: network.config().services,
        node_port_addresses: (!everywhere).then_some(answering),
        rules: BTreeMap::new(),
    })
}

/// What jitter is drawn from.
pub(crate) fn seed() -> u64 {
    u64::from(std::process::id()) ^ u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0)
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

/// Where this cluster's keepers are.
pub(crate) fn keeper_options(instance: &Instance) -> KeeperOptions {
    let tag = instance.tag();
    KeeperOptions {
        data_dir: instance.runtime(),
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

fn start_manager(
    server: &ApiServer,
    flags: &Up,
    plan: &Plan,
    ca_pem: &str,
) -> Result<manager::Handle> {
    let mut options = manager::Options::new(ca_pem, seed());
    options.only = manager::enabled(&flags.controllers)?;
    options.statefulset.max_unavailable = flags.max_unavailable_stateful_set();
    options.pods = PodNetwork {
        base: flags.pod_cidr.base,
        prefix: flags.pod_cidr.prefix,
        node_prefix: plan.pods.prefix,
    };
    options.dns = Some(manager::Dns {
        cluster_ip: IpAddr::V4(plan.dns),
        server: IpAddr::V4(plan.gateway),
        port: DNS_PORT,
    });
    let clients = |name: &str| client::in_process(server.clone(), manager::identity(name));
    Ok(manager::Manager::start(clients, &options))
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
