//! The set's life, step by step; each step is asserted before the next begins.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use api::k8s::api::{
    apps::v1::StatefulSet,
    core::v1::{Event, Node, PersistentVolumeClaim, Pod, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
};
use cli::demo::{Detail, Screen};
use client::kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{
    ask,
    own::NODE,
    pods::{Moment, Pods, What, address, waits_for},
};

/// The image that the demo makes of its own binary.
pub(super) const IMAGE: &str = "stead.local/pet:v1";
/// The pods in the order of their starts.
const NAMES: [&str; 3] = ["web-0", "web-1", "web-2"];
/// How long a step may take before it has failed.
const STEP_MAX: Duration = Duration::from_secs(30);
/// How long what follows from a write may take to be seen.
const SEEN_MAX: Duration = Duration::from_secs(10);
/// Between two looks at what is not there yet.
const LOOK: Duration = Duration::from_millis(5);

/// What must not change over a pod's deaths, and what does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    uid: String,
    volume: String,
    address: Option<Ipv4Addr>,
}

struct Story<'a> {
    client: Client,
    screen: &'a mut Screen,
    pods: Pods,
    known: BTreeMap<String, Known>,
}

/// Tells all of it.
pub(super) async fn tell(client: Client, screen: &mut Screen) -> Result<()> {
    ready(&client, screen).await?;
    let pods = Pods::watch(&client).await?;
    let mut story = Story { client, screen, pods, known: BTreeMap::new() };
    story.three().await?;
    story.names().await?;
    story.texts().await?;
    story.deletion().await?;
    story.scaling().await?;
    story.update().await?;
    Ok(())
}

/// Waits until pods can run.
async fn ready(client: &Client, screen: &mut Screen) -> Result<()> {
    screen.waits("node", "waits for its network and its agent");
    let is_ready = |node: Option<&Node>| {
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    };
    timeout(STEP_MAX, await_condition(Api::<Node>::all(client.clone()), NODE, is_ready))
        .await
        .context("the node did not become Ready")??;
    let accounts = Api::<ServiceAccount>::default_namespaced(client.clone());
    let is_there = |account: Option<&ServiceAccount>| account.is_some();
    timeout(STEP_MAX, await_condition(accounts, "default", is_there))
        .await
        .context("the namespace got no service account")??;
    screen.say("node", "is Ready");
    Ok(())
}

impl Story<'_> {
    async fn three(&mut self) -> Result<()> {
        self.screen.chapter("A StatefulSet of three, one pod after the other", Detail::Waits);
        let services = Api::<Service>::default_namespaced(self.client.clone());
        services.create(&PostParams::default(), &service()?).await?;
        self.sets().create(&PostParams::default(), &set()?).await?;
        self.screen.say("web", "3 replicas; each is to have a volume of class local-path");
        let promised = NAMES.iter().flat_map(|name| [(*name, What::Made), (*name, What::Ready)]);
        self.follow(&promised.collect::<Vec<_>>()).await?;
        let volumes: BTreeSet<_> = self.known.values().map(|known| &known.volume).collect();
        ensure!(volumes.len() == NAMES.len(), "pods share a volume: {volumes:?}");
        Ok(())
    }

    async fn names(&mut self) -> Result<()> {
        self.screen.chapter("Names in the cluster's DNS", Detail::Facts);
        let server = self.dns().await?;
        self.screen.say("dns", &format!("is asked at {server}"));
        for name in NAMES {
            self.resolves(server, name).await?;
        }
        Ok(())
    }

    async fn texts(&mut self) -> Result<()> {
        self.screen.chapter("A line of text for each, through the API server", Detail::Facts);
        for name in NAMES {
            let answer = ask::post(&self.client, name, &text_of(name)).await?;
            ensure!(
                answer == format!("Data stored on pod {name}\n"),
                "{name} was given a text and answered: {answer}"
            );
            self.keeps_its_text(name).await?;
            self.screen.say(name, &format!("keeps \"{}\"", text_of(name)));
        }
        Ok(())
    }

    async fn deletion(&mut self) -> Result<()> {
        self.screen.chapter("web-1 is deleted, and comes back", Detail::Facts);
        let before = self.known.get("web-1").cloned().unwrap_or_default();
        let pods = Api::<Pod>::default_namespaced(self.client.clone());
        pods.delete("web-1", &DeleteParams::default()).await?;
        self.follow(&[
            ("web-1", What::Ending),
            ("web-1", What::Gone),
            ("web-1", What::Made),
            ("web-1", What::Ready),
        ])
        .await?;
        let after = self.known.get("web-1").cloned().unwrap_or_default();
        ensure!(after.uid != before.uid, "web-1 came back with the uid that it had: {}", after.uid);
        self.keeps_its_text("web-1").await?;
        let server = self.dns().await?;
        self.resolves(server, "web-1").await?;
        self.screen.say("web-1", "has a new uid, the same name, the same text");
        Ok(())
    }

    async fn scaling(&mut self) -> Result<()> {
        self.screen.chapter("Down to one", Detail::Facts);
        self.scale(1).await?;
        self.follow(&[
            ("web-2", What::Ending),
            ("web-2", What::Gone),
            ("web-1", What::Ending),
            ("web-1", What::Gone),
        ])
        .await?;
        let claims = Api::<PersistentVolumeClaim>::default_namespaced(self.client.clone());
        let kept = claims.list(&ListParams::default()).await?.items;
        let kept: Vec<_> = kept.into_iter().filter_map(|claim| claim.metadata.name).collect();
        ensure!(kept == NAMES.map(claim_of), "the claims that are left are {kept:?}");
        self.screen.say("web", "the claims of web-1 and web-2 stay");
        self.screen.chapter("Up to three again", Detail::Facts);
        self.scale(3).await?;
        self.follow(&[
            ("web-1", What::Made),
            ("web-1", What::Ready),
            ("web-2", What::Made),
            ("web-2", What::Ready),
        ])
        .await?;
        for name in NAMES {
            self.keeps_its_text(name).await?;
        }
        self.screen.say("web", "each pod has its volume and its text again");
        Ok(())
    }

    async fn update(&mut self) -> Result<()> {
        self.screen.chapter("An update from the top, one pod at a time", Detail::Facts);
        let containers = json!([{"name": "pet", "args": ["--peers"]}]);
        let update = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        self.sets().patch("web", &PatchParams::default(), &Patch::Strategic(update)).await?;
        self.screen.say("web", "its template has a new argument, `--peers`");
        let promised = NAMES.iter().rev().flat_map(|name| {
            [What::Ending, What::Gone, What::Made, What::Ready].map(|what| (*name, what))
        });
        self.follow(&promised.collect::<Vec<_>>()).await?;
        let sets = self.sets();
        let revision = eventually("the set to count its update as complete", async || {
            let status = sets.get("web").await?.status.unwrap_or_default();
            let is_complete = status.updated_replicas == Some(3)
                && status.current_revision == status.update_revision;
            Ok(status.update_revision.filter(|_| is_complete))
        })
        .await?;
        self.screen.say("web", &format!("all pods are at {revision}, in the order 2, 1, 0"));
        for name in NAMES {
            self.keeps_its_text(name).await?;
            self.lists_its_peers(name).await?;
        }
        self.screen.say("web", "each pod has its text, and now finds its peers by DNS");
        Ok(())
    }

    /// Watches until all that is promised has happened: this and nothing else, in this order.
    async fn follow(&mut self, promised: &[(&str, What)]) -> Result<()> {
        let promised: Vec<_> =
            promised.iter().map(|(name, what)| Moment::new(name, *what)).collect();
        let mut told = Vec::new();
        let deadline = Instant::now() + STEP_MAX;
        self.awaited(&promised);
        while told.len() < promised.len() {
            let Ok(moments) = tokio::time::timeout_at(deadline, self.pods.next()).await else {
                return Err(self.stuck(&promised[told.len()]).await);
            };
            for moment in moments? {
                self.show(&moment).await?;
                told.push(moment);
            }
            if !promised.starts_with(&told) {
                bail!("what happened was: {}; promised was: {}", list(&told), list(&promised));
            }
            self.awaited(&promised[told.len()..]);
        }
        Ok(())
    }

    /// Shows what each pod that something is promised of waits for.
    fn awaited(&mut self, promised: &[Moment]) {
        let mut before: Option<&str> = None;
        let mut seen = BTreeSet::new();
        for Moment { name, what } in promised {
            if !seen.insert(name) {
                continue;
            }
            let text = match (before, self.pods.get(name), what) {
                (Some(before), _, _) => format!("waits for {before}"),
                (None, Some(_), What::Ending) => "waits for its controller to end it".to_owned(),
                (None, Some(pod), _) => waits_for(pod),
                (None, None, _) => "waits for its controller to make it".to_owned(),
            };
            self.screen.waits(name, &text);
            before = Some(name);
        }
    }

    async fn show(&mut self, Moment { name, what }: &Moment) -> Result<()> {
        let said = match what {
            What::Made => "is made".to_owned(),
            What::Ending => "is asked to end".to_owned(),
            What::Gone => "is gone".to_owned(),
            What::Ready => {
                let known = self.learn(name).await?;
                let address = known.address.context("a Ready pod has no address")?;
                format!("is Ready at {address} with volume {}", known.volume)
            }
        };
        self.screen.say(name, &said);
        Ok(())
    }

    /// Learns who a pod is now; its volume must be the one that the name always had.
    async fn learn(&mut self, name: &str) -> Result<Known> {
        let claims = Api::<PersistentVolumeClaim>::default_namespaced(self.client.clone());
        let claim = claims.get(&claim_of(name)).await?;
        let volume = claim.spec.and_then(|spec| spec.volume_name).context("no volume is bound")?;
        let pod = self.pods.get(name).context("a Ready pod is not there")?;
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let known = Known { uid, volume, address: address(pod) };
        let before = self.known.insert(name.to_owned(), known.clone());
        if let Some(before) = before.filter(|before| before.volume != known.volume) {
            bail!("{name} had volume {} and now has {}", before.volume, known.volume);
        }
        Ok(known)
    }

    /// Why a step does not end, in words of the cluster.
    async fn stuck(&self, awaited: &Moment) -> anyhow::Error {
        let pod = self.pods.get(&awaited.name);
        let why = pod.map_or_else(|| "there is no such pod".to_owned(), waits_for);
        let events = Api::<Event>::default_namespaced(self.client.clone());
        let warnings = events.list(&ListParams::default().fields("type=Warning")).await;
        let warning = warnings.ok().and_then(|list| list.items.into_iter().next_back());
        let warning = warning.and_then(|event| event.message);
        let also = warning.map(|message| format!("; the last warning is: {message}"));
        anyhow::anyhow!(
            "{awaited} was awaited for {} s: {} {why}{}",
            STEP_MAX.as_secs(),
            awaited.name,
            also.unwrap_or_default()
        )
    }

    async fn scale(&self, replicas: i32) -> Result<()> {
        let scale = json!({"spec": {"replicas": replicas}});
        self.sets().patch_scale("web", &PatchParams::default(), &Patch::Merge(scale)).await?;
        Ok(())
    }

    /// Where the cluster's DNS answers, as its own Service says.
    async fn dns(&self) -> Result<SocketAddr> {
        let slices = Api::<EndpointSlice>::namespaced(self.client.clone(), "kube-system");
        let ours = ListParams::default().labels("kubernetes.io/service-name=kube-dns");
        eventually("the Service kube-dns to name a server", async || {
            let found = slices.list(&ours).await?.items;
            Ok(found.iter().find_map(|slice| {
                let address =
                    slice.endpoints.iter().flatten().flat_map(|end| &end.addresses).next()?;
                let ports = slice.ports.as_ref()?;
                let port = ports.iter().find(|port| port.protocol.as_deref() == Some("UDP"))?;
                let port = u16::try_from(port.port?).ok()?;
                Some(SocketAddr::new(address.parse().ok()?, port))
            }))
        })
        .await
    }

    /// A pod's name leads to its address, and to nothing else.
    async fn resolves(&mut self, server: SocketAddr, pod: &str) -> Result<()> {
        let name = format!("{pod}.pets.default.svc.cluster.local");
        let wanted = self.known.get(pod).and_then(|known| known.address);
        let wanted: Vec<_> = wanted.into_iter().collect();
        eventually(&format!("{name} to lead to {wanted:?}"), async || {
            let found = ask::addresses(server, &name).await?;
            Ok((found == wanted).then_some(()))
        })
        .await?;
        let found = wanted.first().context("a Ready pod has no address")?;
        self.screen.say(pod, &format!("{name} is {found}"));
        Ok(())
    }

    async fn keeps_its_text(&self, pod: &str) -> Result<()> {
        let answer = self.tells(pod).await?;
        let wanted = format!("You've hit {pod}\nData stored on this pod: {}\n", text_of(pod));
        ensure!(answer.starts_with(&wanted), "{pod} should keep its text, and answered: {answer}");
        Ok(())
    }

    async fn lists_its_peers(&self, pod: &str) -> Result<()> {
        let peers = NAMES.map(|name| format!("- {name}.pets.default.svc.cluster.local\n"));
        let wanted = format!("Pods of this service:\n{}", peers.concat());
        eventually(&format!("{pod} to find its peers"), async || {
            Ok(self.tells(pod).await?.ends_with(&wanted).then_some(()))
        })
        .await
    }

    /// What a pod answers at its own address.
    async fn tells(&self, pod: &str) -> Result<String> {
        let address = self.known.get(pod).and_then(|known| known.address);
        ask::get(address.context("a Ready pod has no address")?).await
    }

    fn sets(&self) -> Api<StatefulSet> {
        Api::default_namespaced(self.client.clone())
    }
}

/// Looks again until there is an answer.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + SEEN_MAX;
    loop {
        let looked = look().await;
        match looked {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if Instant::now() > deadline => {
                bail!("waited {} s for {what}", SEEN_MAX.as_secs())
            }
            Err(error) if Instant::now() > deadline => {
                return Err(error)
                    .with_context(|| format!("waited {} s for {what}", SEEN_MAX.as_secs()));
            }
            Ok(None) | Err(_) => sleep(LOOK).await,
        }
    }
}

fn list(moments: &[Moment]) -> String {
    moments.iter().map(Moment::to_string).collect::<Vec<_>>().join(", ")
}

fn text_of(pod: &str) -> String {
    format!("a line that only {pod} was given")
}

fn claim_of(pod: &str) -> String {
    format!("data-{pod}")
}

/// The headless Service that gives the pods their names.
fn service() -> Result<Service> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "pets"},
        "spec": {
            "clusterIP": "None",
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": ask::PORT}],
        },
    }))?)
}

fn set() -> Result<StatefulSet> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "serviceName": "pets",
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [{
                        "name": "pet",
                        "image": IMAGE,
                        "ports": [{"name": "http", "containerPort": ask::PORT}],
                        "readinessProbe": {
                            "httpGet": {"path": "/", "port": "http"},
                            "periodSeconds": 1,
                        },
                        "volumeMounts": [{"name": "data", "mountPath": "/var/data"}],
                    }],
                },
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "local-path",
                    "resources": {"requests": {"storage": "16Mi"}},
                },
            }],
        },
    }))?)
}
