//! One whole cluster on one thread: its parts, their deaths and their new lives.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use agent::{Agent, Clock, Config};
use anyhow::{Context as _, Result, anyhow};
use apiserver::{
    ApiServer, Bootstrap, Options as ServerOptions, Plugins, Version,
    access::{AccessControl, Directory, Pki, bootstrap_objects},
};
use client::{Identity, in_process, kube};
use controllers::statefulset;
use jiff::Timestamp;
use manager::{Manager, Options as ManagerOptions, identity};
use podsync::node::NodeFacts;
use store::{Event, Journal as _, MemoryJournal, Observer, Record, Store, Window};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    chance::Chance,
    clock::{Ambience, WallClock},
    kernel::{self, Kernel},
    trace::What,
    wire::Wire,
    world::{Life, Line, Unit, World},
};

/// What every simulation begins with: the first objects of a cluster, and its keys. Made once.
#[derive(Debug)]
pub struct Ground {
    records: Vec<Record>,
    token_key_pem: String,
}

impl Ground {
    /// Lays it: an API server makes its first objects. Needs a tokio runtime of one thread.
    ///
    /// # Errors
    ///
    /// When keys cannot be made or the first objects are refused.
    pub async fn lay() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let pki = Pki::open(folder.path(), Timestamp::UNIX_EPOCH)?;
        let token_key_pem = pki.token_key_pem().to_owned();
        let (deaths, _dead) = mpsc::unbounded_channel();
        let mut journal = MemoryJournal::default();
        let world = Arc::new(World::new(0, journal.clone(), deaths));
        let ground = Self { records: Vec::new(), token_key_pem };
        let (server, _store, writer) = serve(&world, &ground, 0)?;
        let writer = tokio::spawn(writer);
        bootstrap(&server).await?;
        writer.abort();
        Ok(Self { records: journal.replay()?.records, ..ground })
    }

    /// The last revision of it.
    pub(crate) fn revision(&self) -> u64 {
        self.records.last().map_or(0, |record| record.revision)
    }
}

/// What one simulation is made of.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: u8,
    /// Who decides about StatefulSets.
    pub(crate) planner: fn(&statefulset::View) -> controllers::Plan,
}

/// One node.
struct Node {
    line: Line,
    clock: WallClock,
    kernel: Kernel,
    agent: Option<(Life, JoinHandle<Result<(), agent::AgentError>>)>,
    number: u8,
}

/// A cluster.
pub(crate) struct House {
    pub(crate) world: Arc<World>,
    ground: Arc<Ground>,
    plan: Plan,
    folder: PathBuf,
    writer: Option<JoinHandle<()>>,
    pub(crate) store: Option<Store>,
    manager: Option<(Life, manager::Handle)>,
    nodes: BTreeMap<String, Node>,
    /// How many servers and managers there have been: each has chance of its own.
    lives: u64,
}

/// Notes every commit, and keeps what access needs.
struct Noting {
    directory: Arc<Directory>,
    world: Arc<World>,
    /// The latest revision that was there at open: rows up to it are no news.
    old: u64,
}

impl Observer for Noting {
    fn observe(&self, event: &Event) {
        self.directory.observe(event);
        if event.revision > self.old {
            self.world.trace.note(What::Commit {
                revision: event.revision,
                key: event.after.key.clone(),
                value: event.after.value.clone(),
                deleted: event.deleted,
            });
        }
    }
}

fn serve(
    world: &Arc<World>,
    ground: &Ground,
    seed: u64,
) -> Result<(ApiServer, Store, impl Future<Output = ()> + Send + use<>)> {
    let directory = Arc::new(Directory::default());
    let mut journal = world.journal.clone();
    let replay = journal.replay()?;
    let old = replay.records.last().map_or(replay.base, |record| record.revision);
    let noting = Noting { directory: directory.clone(), world: Arc::clone(world), old };
    let clock = world.clock.clone();
    let options = store::Options {
        window: Window { age_ms: 60_000, bytes: 4 * 1024 * 1024 },
        observer: Some(Arc::new(noting)),
        clock: Arc::new(move || clock.ms()),
    };
    let (store, writer) = Store::open_here(journal, options)?;
    let chance = Chance::new(seed, "server");
    let ambient = Arc::new(Ambience { clock: world.clock.clone(), chance });
    let key = &ground.token_key_pem;
    let access = Arc::new(AccessControl::new(directory, ambient.clone(), key, "https://sim")?);
    let mut options = ServerOptions::new(access.clone(), access.clone(), access.clone());
    options.admission = vec![Arc::new(Plugins::new(store.clone(), ambient.clone())), access];
    options.ambient = ambient;
    Ok((ApiServer::new(store.clone(), options), store, writer))
}

async fn bootstrap(server: &ApiServer) -> Result<()> {
    let advertise = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 6443));
    let wanted = Bootstrap { advertise, objects: bootstrap_objects() };
    server.bootstrap(wanted).await.map_err(|error| anyhow!("{error:?}"))
}

impl House {
    /// A cluster on this ground, with all its parts running.
    pub(crate) async fn open(
        plan: Plan,
        ground: Arc<Ground>,
        folder: &Path,
        deaths: mpsc::UnboundedSender<Unit>,
    ) -> Result<Self> {
        let mut journal = MemoryJournal::default();
        journal.append(&ground.records)?;
        let world = Arc::new(World::new(plan.seed, journal, deaths));
        let folder = folder.to_owned();
        let nodes = (1..=plan.nodes).map(|number| {
            let name = format!("node-{number}");
            let clock = world.clock.another();
            let kernel = kernel::kernel(Arc::clone(&world), &name, number, clock.clone());
            (name, Node { line: Line::new(), clock, kernel, agent: None, number })
        });
        let nodes = nodes.collect();
        let (writer, store, manager, lives) = (None, None, None, 0);
        let mut house = Self { world, ground, plan, folder, writer, store, manager, nodes, lives };
        house.start(&Unit::Server).await?;
        house.start(&Unit::Manager).await?;
        for name in house.node_names() {
            house.start(&Unit::Agent(name)).await?;
        }
        Ok(house)
    }

    pub(crate) fn node_names(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    pub(crate) fn kernel(&self, node: &str) -> Option<Kernel> {
        self.nodes.get(node).map(|node| node.kernel.clone())
    }

    pub(crate) fn clock(&self, node: &str) -> Option<WallClock> {
        self.nodes.get(node).map(|node| node.clock.clone())
    }

    pub(crate) fn line(&self, node: &str) -> Option<Line> {
        self.nodes.get(node).map(|node| node.line.clone())
    }

    /// The administrator's client, whose requests meet no fault.
    pub(crate) fn person(&self) -> kube::Client {
        let mut person = Identity::component("person");
        person.groups.push("system:masters".to_owned());
        let wire = self.wire("person", Unit::Person, Life::default(), Line::new());
        in_process(wire, person)
    }

    fn wire(&self, who: &str, unit: Unit, life: Life, line: Line) -> Wire {
        Wire { world: Arc::clone(&self.world), who: who.into(), unit, life, line }
    }

    pub(crate) fn is_running(&self, unit: &Unit) -> bool {
        match unit {
            Unit::Server => self.store.is_some(),
            Unit::Manager => self.manager.is_some(),
            Unit::Agent(name) => self.nodes.get(name).is_some_and(|node| node.agent.is_some()),
            Unit::Person => true,
        }
    }

    /// Starts a unit that is dead.
    pub(crate) async fn start(&mut self, unit: &Unit) -> Result<()> {
        if self.is_running(unit) {
            return Ok(());
        }
        self.world.trace.say(format!("{unit} begins"));
        self.lives += 1;
        match unit {
            Unit::Server => self.start_server().await,
            Unit::Manager => {
                self.start_manager();
                Ok(())
            }
            Unit::Agent(name) => self.start_agent(name),
            Unit::Person => Ok(()),
        }
    }

    async fn start_server(&mut self) -> Result<()> {
        let seed = self.plan.seed ^ (self.lives << 32);
        let (server, store, writer) = serve(&self.world, &self.ground, seed)?;
        self.writer = Some(tokio::spawn(writer));
        self.store = Some(store);
        bootstrap(&server).await?;
        self.world.set_server(Some(server));
        Ok(())
    }

    fn start_manager(&mut self) {
        let life = Life::default();
        let clock = self.world.clock.clone();
        let options = ManagerOptions {
            now: Arc::new(move || clock.now()),
            plan_sets: self.plan.planner,
            ..ManagerOptions::new("PEM", self.plan.seed ^ self.lives)
        };
        let clients = |name: &str| {
            let wire = self.wire(name, Unit::Manager, life.clone(), Line::new());
            in_process(wire, identity(name))
        };
        let handle = Manager::start(clients, &options);
        self.manager = Some((life, handle));
    }

    fn start_agent(&mut self, name: &str) -> Result<()> {
        let life = Life::default();
        let node = self.nodes.get(name).with_context(|| format!("no node {name}"))?;
        let data = self.folder.join(name);
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, node.number));
        let config = Config {
            node: name.to_owned(),
            addresses: vec![address],
            kubelet_port: 10250,
            logs: data.join("logs"),
            data,
            cluster_dns: vec![IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10))],
            cluster_domain: "cluster.local".to_owned(),
            version: Version::default().git_version,
            pods_max: 110,
            labels: BTreeMap::new(),
        };
        let unit = Unit::Agent(name.to_owned());
        let client = |who: &str, identity| {
            let wire = self.wire(who, unit.clone(), life.clone(), node.line.clone());
            in_process(wire, identity)
        };
        let own = client(name, Identity::node(name));
        let reclaimer = Identity::service_account("local-volume-provisioner");
        let reclaimer = client("local-volume-provisioner", reclaimer);
        let clock = node.clock.clone();
        let clock = Clock::new(move || clock.now());
        let facts = facts(&config);
        let agent = Agent::new(config, Arc::new(node.kernel.clone()), own, clock)?;
        let agent = agent.reclaiming(reclaimer).on_machine(facts);
        let task = tokio::spawn(agent.run());
        if let Some(node) = self.nodes.get_mut(name) {
            node.agent = Some((life, task));
        }
        Ok(())
    }

    /// It dies where it stands.
    pub(crate) fn kill(&mut self, unit: &Unit) {
        if !self.is_running(unit) {
            return;
        }
        self.world.trace.say(format!("{unit} dies"));
        match unit {
            Unit::Server => {
                self.world.set_server(None);
                self.store = None;
                if let Some(writer) = self.writer.take() {
                    writer.abort();
                }
            }
            Unit::Manager => {
                if let Some((life, handle)) = self.manager.take() {
                    life.end();
                    drop(handle);
                }
            }
            Unit::Agent(name) => {
                let agent = self.nodes.get_mut(name).and_then(|node| node.agent.take());
                if let Some((life, task)) = agent {
                    life.end();
                    task.abort();
                }
            }
            Unit::Person => {}
        }
    }

    /// Agents that ended by themselves, which none does.
    pub(crate) fn broken(&self) -> Vec<String> {
        let ended = self
            .nodes
            .iter()
            .filter(|(_, node)| node.agent.as_ref().is_some_and(|(_, task)| task.is_finished()));
        ended.map(|(name, _)| name.clone()).collect()
    }
}

/// A machine that does not change.
fn facts(config: &Config) -> NodeFacts {
    let gib = 1024 * 1024 * 1024;
    NodeFacts {
        name: config.node.clone(),
        hostname: config.node.clone(),
        addresses: config.addresses.clone(),
        architecture: "amd64".to_owned(),
        cpus: 8,
        memory_bytes: 16 * gib,
        memory_free_bytes: 8 * gib,
        disk_bytes: 100 * gib,
        disk_free_bytes: 50 * gib,
        inodes: 1_000_000,
        inodes_free: 900_000,
        pids_max: 32_768,
        pids: 100,
        pods_max: config.pods_max,
        boot_id: "boot".to_owned(),
        machine_id: config.node.clone(),
        system_uuid: config.node.clone(),
        kernel_version: "6.0.0".to_owned(),
        os_image: "words".to_owned(),
        version: config.version.clone(),
        runtime_version: "stead://sim".to_owned(),
        kubelet_port: config.kubelet_port,
        ..NodeFacts::default()
    }
}
