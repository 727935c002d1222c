//! The person: makes sets, changes them while everything goes wrong, and puts them right at last.

use std::sync::Arc;

use client::kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod, Service},
    storage::v1::StorageClass,
};
use serde_json::{Value, json};

use crate::{chance::Chance, trace::What, world::World};

/// What the person wants of one set.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) name: String,
    pub(crate) replicas: u64,
    pub(crate) parallel: bool,
    pub(crate) claims: bool,
    pub(crate) min_ready_s: u64,
    pub(crate) partition: u64,
    pub(crate) grace_s: u64,
    /// Of the template.
    pub(crate) image: String,
    /// Not there: to be made.
    pub(crate) away: bool,
    /// It has been there before.
    pub(crate) again: bool,
}

impl Wish {
    /// A set as chance has it.
    pub(crate) fn draw(name: &str, chance: &Chance) -> Self {
        Self {
            name: name.to_owned(),
            replicas: chance.between(1, 4),
            parallel: chance.percent(30),
            claims: chance.percent(60),
            min_ready_s: if chance.percent(25) { chance.between(1, 8) } else { 0 },
            partition: 0,
            grace_s: chance.between(1, 20),
            image: "app:1".to_owned(),
            away: true,
            again: false,
        }
    }

    fn object(&self) -> Value {
        let claims = json!([{"metadata": {"name": "data"}, "spec": {
            "storageClassName": "local-path", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}]);
        let mounts = json!([{"name": "data", "mountPath": "/data"}]);
        let none = json!([]);
        json!({"metadata": {"name": self.name}, "spec": {
            "replicas": self.replicas,
            "serviceName": "web",
            "podManagementPolicy": if self.parallel { "Parallel" } else { "OrderedReady" },
            "minReadySeconds": self.min_ready_s,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": self.partition}},
            "selector": {"matchLabels": {"app": self.name}},
            "template": {
                "metadata": {"labels": {"app": self.name, "all": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": self.grace_s,
                    // A token's folder would be a mount on the machine that simulates.
                    "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "main", "image": self.image,
                        "readinessProbe": {"exec": {"command": ["check"]}, "periodSeconds": 3},
                        "volumeMounts": if self.claims { &mounts } else { &none },
                    }],
                },
            },
            "volumeClaimTemplates": if self.claims { claims } else { none.clone() },
        }})
    }
}

/// The person, with what they want.
pub(crate) struct Person {
    world: Arc<World>,
    client: Client,
    pub(crate) wishes: Vec<Wish>,
    /// Numbers templates.
    templates: u64,
}

type Answer<T = ()> = Result<T, client::kube::Error>;

impl Person {
    pub(crate) fn new(world: Arc<World>, client: Client, wishes: Vec<Wish>) -> Self {
        Self { world, client, wishes, templates: 1 }
    }

    fn sets(&self) -> Api<StatefulSet> {
        Api::namespaced(self.client.clone(), "default")
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// The class of volumes and the Service, before all else.
    pub(crate) async fn furnish(&self) -> Answer {
        let class = json!({"metadata": {"name": "local-path"}, "provisioner": "stead.io/local",
            "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"});
        let classes: Api<StorageClass> = Api::all(self.client.clone());
        classes.create(&PostParams::default(), &typed(class)?).await?;
        let service = json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "None",
            "selector": {"all": "web"}, "ports": [{"port": 80}]}});
        let services: Api<Service> = Api::namespaced(self.client.clone(), "default");
        services.create(&PostParams::default(), &typed(service)?).await?;
        Ok(())
    }

    /// Makes the set of this number, unless it is there; one that is still going is refused.
    pub(crate) async fn make(&mut self, number: usize) -> Answer {
        let Some(wish) = self.wishes.get_mut(number) else { return Ok(()) };
        let object = typed(wish.object())?;
        let made = self.sets().create(&PostParams::default(), &object).await;
        let taken = matches!(&made, Err(client::kube::Error::Api(status)) if status.code == 409);
        let there = taken && {
            let name = &self.wishes[number].name;
            self.sets().get(name).await?.metadata.deletion_timestamp.is_none()
        };
        if let (true, Some(wish)) = (made.is_ok() || there, self.wishes.get_mut(number)) {
            wish.away = false;
            wish.again = true;
        }
        if there { Ok(()) } else { made.map(drop) }
    }

    /// Does something to one of the sets; answers the number of a set to be made again.
    pub(crate) async fn meddle(&mut self) -> Answer<Option<usize>> {
        let world = Arc::clone(&self.world);
        let chance = &world.chance;
        let number = usize::try_from(chance.below(self.wishes.len() as u64)).unwrap_or(0);
        if self.wishes[number].away {
            return Ok(None);
        }
        let acts: [(&'static str, u64); 11] = [
            ("person scales", 20),
            ("person changes template", 20),
            ("person changes template for the worse", 6),
            ("person mends template", 6),
            ("person moves partition", 10),
            ("person deletes pod", 12),
            ("person deletes pod by force", 4),
            ("person deletes set in the foreground", 3),
            ("person orphans and adopts", 5),
            ("person edits labels", 6),
            ("person deletes claim", 5),
        ];
        let mut left = chance.below(acts.iter().map(|(_, weight)| weight).sum());
        let act = acts.iter().find(|(_, weight)| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        });
        let Some((act, _)) = act else { return Ok(None) };
        self.world.trace.say(format!("{act} {}", self.wishes[number].name));
        let again = self.act(act, number).await?;
        self.world.tally.world(act);
        Ok(again.then_some(number))
    }

    async fn act(&mut self, act: &str, number: usize) -> Answer<bool> {
        let world = Arc::clone(&self.world);
        let chance = &world.chance;
        match act {
            "person scales" => {
                self.wishes[number].replicas = chance.between(0, 5);
                self.apply(number).await?;
            }
            "person changes template" | "person mends template" => {
                self.templates += 1;
                // Sometimes back to one that was.
                let template =
                    chance.between(self.templates.saturating_sub(2).max(1), self.templates);
                self.wishes[number].image = format!("app:{template}");
                self.apply(number).await?;
            }
            "person changes template for the worse" => {
                let how = ["crash", "none", "sick"];
                let how = chance.pick(&how).copied().unwrap_or("sick");
                self.wishes[number].image = format!("{how}:{}", self.templates);
                self.apply(number).await?;
            }
            "person moves partition" => {
                self.wishes[number].partition = chance.between(0, self.wishes[number].replicas);
                self.apply(number).await?;
            }
            "person deletes pod" | "person deletes pod by force" => {
                let force = act.ends_with("force");
                let Some(pod) = self.pod_of(number).await? else { return Ok(false) };
                self.delete_pod(&pod, force).await?;
            }
            "person deletes set in the foreground" | "person orphans and adopts" => {
                let orphan = act.contains("orphan");
                let how = if orphan { DeleteParams::orphan() } else { DeleteParams::foreground() };
                self.sets().delete(&self.wishes[number].name, &how).await?;
                self.wishes[number].away = true;
                return Ok(true);
            }
            "person edits labels" => {
                let Some(pod) = self.pod_of(number).await? else { return Ok(false) };
                let name = pod.metadata.name.unwrap_or_default();
                let body = json!({"metadata": {"labels": {"app": "nobody"}}});
                self.pods().patch(&name, &PatchParams::default(), &Patch::Merge(body)).await?;
            }
            _ => {
                let Some(pod) = self.pod_of(number).await? else { return Ok(false) };
                let claims: Api<PersistentVolumeClaim> =
                    Api::namespaced(self.client.clone(), "default");
                let name = format!("data-{}", pod.metadata.name.unwrap_or_default());
                if self.wishes[number].claims {
                    claims.delete(&name, &DeleteParams::default()).await?;
                    self.delete_named(&name["data-".len()..]).await?;
                }
            }
        }
        Ok(false)
    }

    /// Makes the set what it shall be now.
    async fn apply(&self, number: usize) -> Answer {
        let wish = &self.wishes[number];
        let spec = json!({"spec": {
            "replicas": wish.replicas,
            "updateStrategy": {"rollingUpdate": {"partition": wish.partition}},
            "template": {"spec": {"containers": [{"name": "main", "image": wish.image}]}},
        }});
        let patch = Patch::Strategic(&spec);
        self.sets().patch(&wish.name, &PatchParams::default(), &patch).await.map(drop)
    }

    async fn pod_of(&self, number: usize) -> Answer<Option<Pod>> {
        let name = format!("{}-", self.wishes[number].name);
        let pods = self.pods().list(&ListParams::default()).await?.items;
        let own = |pod: &Pod| pod.metadata.name.as_ref().is_some_and(|own| own.starts_with(&name));
        let pods: Vec<Pod> = pods.into_iter().filter(own).collect();
        Ok(self.world.chance.pick(&pods).cloned())
    }

    async fn delete_named(&self, pod: &str) -> Answer {
        self.pods().delete(pod, &DeleteParams::default()).await.map(drop)
    }

    async fn delete_pod(&self, pod: &Pod, force: bool) -> Answer {
        let uid = pod.metadata.uid.clone();
        let same = Preconditions { uid: uid.clone(), resource_version: None };
        let mut how = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        if force {
            how.grace_period_seconds = Some(0);
            self.world.trace.note(What::Forced { uid: uid.unwrap_or_default() });
        }
        self.pods().delete(pod.metadata.name.as_deref().unwrap_or_default(), &how).await.map(drop)
    }

    /// Wants from now on what can be had: a good template everywhere.
    pub(crate) async fn settle(&mut self) -> Answer {
        self.templates += 1;
        for number in 0..self.wishes.len() {
            let image = format!("app:{}", self.templates);
            let wish = &mut self.wishes[number];
            wish.partition = 0;
            if !wish.image.starts_with("app") {
                wish.image = image;
            }
            if wish.away {
                self.make(number).await?;
            }
            if !self.wishes[number].away {
                self.apply(number).await?;
            }
        }
        Ok(())
    }

    /// What upstream's controller leaves to a person: a pod of a bad revision that its set waits
    /// for, a foreign pod under the name of one of its own, and a pod that was made just as its
    /// claim was deleted (it waits for the claim, and the claim for it).
    pub(crate) async fn tend(&self) -> Answer {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), "default");
        let claims = claims.list(&ListParams::default()).await?.items.into_iter();
        let going = claims.filter(|claim| claim.metadata.deletion_timestamp.is_some());
        let going: Vec<String> = going.filter_map(|claim| claim.metadata.name).collect();
        let pods = self.pods().list(&ListParams::default()).await?.items;
        for pod in pods {
            let meta = &pod.metadata;
            if meta.deletion_timestamp.is_some() {
                continue;
            }
            let spec = pod.spec.as_ref();
            let image = spec.and_then(|spec| spec.containers.first()?.image.clone());
            let bad = image.is_some_and(|image| !image.starts_with("app"));
            let foreign = meta
                .labels
                .as_ref()
                .is_some_and(|all| all.get("app").is_some_and(|app| app == "nobody"));
            let ours = meta.owner_references.as_ref().is_some_and(|owners| !owners.is_empty());
            let held = going.iter().any(|claim| {
                claim.strip_prefix("data-") == meta.name.as_deref()
                    && pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Pending")
            });
            if bad || held || foreign && !ours {
                self.world.trace.say(format!("person takes {:?} away", meta.name));
                self.delete_pod(&pod, false).await?;
            }
        }
        Ok(())
    }
}

fn typed<K: serde::de::DeserializeOwned>(value: Value) -> Answer<K> {
    serde_json::from_value(value).map_err(client::kube::Error::SerdeError)
}
