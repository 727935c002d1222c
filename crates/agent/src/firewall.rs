//! Services on this node: their rules follow the watches into the kernel.
//!
//! ```text
//!   services, slices, pods here ──▶ network::*_rules (one Service at a time) ──▶ host::nft
//! ```

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use client::{AnyCache, Cache, Key};
use host::nft::{self, Firewall, Ruleset};
use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{Api, runtime::watcher};
use network::firewall::{Front, Protocol, Rule, host_port_rules, service_rules};
use tokio::sync::mpsc;

use crate::shared::Shared;

/// The label by which a slice names its Service.
const SERVICE: &str = "kubernetes.io/service-name";
/// Pause before the kernel is asked again after it refused.
const AGAIN: Duration = Duration::from_secs(1);

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    Service(Key),
    Pod(Key),
}

/// Keeps the firewall for as long as it is polled. `base` says all but the rules.
pub(crate) async fn run(shared: Arc<Shared>, firewall: Firewall, base: Ruleset) {
    let (sender, changes) = mpsc::unbounded_channel();
    let slices: Cache<EndpointSlice> = Cache::new(None);
    slices.add_index((SERVICE, |slice| {
        service_of(slice).into_iter().map(|key| path(&key)).collect()
    }));
    let tell = |sender: &mpsc::UnboundedSender<Changed>, wrap: fn(Key) -> Changed| {
        let sender = sender.clone();
        Arc::new(move |key| {
            if sender.send(wrap(key)).is_err() {
                tracing::debug!("a service changed after the firewall's end");
            }
        })
    };
    slices.subscribe(
        |old, new| [old, new].into_iter().flatten().filter_map(|slice| service_of(slice)).collect(),
        tell(&sender, Changed::Service),
    );
    shared.services.subscribe(
        |old, new| old.or(new).map(|one| Key::of(&one.metadata)).into_iter().collect(),
        tell(&sender, Changed::Service),
    );
    shared.pods.subscribe(
        |old, new| old.or(new).map(|one| Key::of(&one.metadata)).into_iter().collect(),
        tell(&sender, Changed::Pod),
    );
    let api: Api<EndpointSlice> = Api::all(shared.client.clone());
    let stream = watcher(api, watcher::Config::default());
    let follow = slices.follow("endpointslices", 4, stream);
    let keep = async {
        (&slices as &dyn AnyCache).synced().await;
        (&shared.services as &dyn AnyCache).synced().await;
        (&shared.pods as &dyn AnyCache).synced().await;
        let rooms = Rooms { shared: &shared, slices: &slices, rules: BTreeMap::new() };
        rooms.keep(firewall, base, changes).await;
    };
    tokio::join!(follow, keep);
}

struct Rooms<'a> {
    shared: &'a Shared,
    slices: &'a Cache<EndpointSlice>,
    /// The rules of each Service and each pod.
    rules: BTreeMap<Changed, BTreeMap<String, Rule>>,
}

impl Rooms<'_> {
    async fn keep(
        mut self,
        mut firewall: Firewall,
        base: Ruleset,
        mut changes: mpsc::UnboundedReceiver<Changed>,
    ) {
        for service in self.shared.services.list() {
            self.look(Changed::Service(Key::of(&service.metadata)));
        }
        for pod in self.shared.pods.list() {
            self.look(Changed::Pod(Key::of(&pod.metadata)));
        }
        loop {
            let mut ruleset = base.clone();
            for rules in self.rules.values() {
                ruleset.rules.extend(rules.iter().map(|(name, rule)| (name.clone(), shaped(rule))));
            }
            // The kernel answers within milliseconds, but this task shares its thread.
            let applied = tokio::task::spawn_blocking(move || {
                let result = firewall.apply(&ruleset);
                (firewall, result)
            });
            let Ok((back, result)) = applied.await else { return };
            firewall = back;
            let failed = result
                .inspect_err(|error| tracing::warn!(%error, "services may not be reachable"))
                .is_err();
            let first = tokio::select! {
                first = changes.recv() => first,
                () = tokio::time::sleep(AGAIN), if failed => continue,
            };
            let Some(first) = first else { return };
            self.look(first);
            while let Ok(next) = changes.try_recv() {
                self.look(next);
            }
        }
    }

    /// Reads one Service or pod anew.
    fn look(&mut self, changed: Changed) {
        let rules = match &changed {
            Changed::Service(key) => {
                let service = self.shared.services.get(&key.namespace, &key.name);
                service.map(|service| {
                    let slices = self.slices.by(SERVICE, &path(key));
                    service_rules(&service, &slices, &self.shared.config.node)
                })
            }
            Changed::Pod(key) => {
                let pod = self.shared.pods.get(&key.namespace, &key.name);
                pod.and_then(|pod| Some(host_port_rules(&pod, address(&pod)?)))
            }
        };
        match rules.filter(|rules| !rules.is_empty()) {
            Some(rules) => self.rules.insert(changed, rules),
            None => self.rules.remove(&changed),
        };
    }
}

fn path(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE)?;
    Some(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name))
}

/// The address of a pod that runs.
fn address(pod: &Pod) -> Option<Ipv4Addr> {
    let status = pod.status.as_ref()?;
    let ended = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    status.pod_ip.as_deref().filter(|_| !ended)?.parse().ok()
}

/// The same rule in the words of the kernel's door, which does not know this crate's floor.
fn shaped(rule: &Rule) -> nft::Rule {
    nft::Rule {
        protocol: match rule.protocol {
            Protocol::Tcp => nft::Protocol::Tcp,
            Protocol::Udp => nft::Protocol::Udp,
            Protocol::Sctp => nft::Protocol::Sctp,
        },
        fronts: rule
            .fronts
            .iter()
            .map(|front| match *front {
                Front::Cluster(at) => nft::Front::Cluster(at),
                Front::Address(at) => nft::Front::Address(at),
                Front::NodePort(port) => nft::Front::NodePort(port),
                Front::HostPort(port) => nft::Front::HostPort(port),
            })
            .collect(),
        backends: rule.backends.clone(),
        affinity_s: rule.affinity_s,
    }
}
