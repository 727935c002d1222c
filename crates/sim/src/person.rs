//! The person: makes sets, changes them while everything goes wrong, and puts them right at last.

use std::sync::Arc;

use api::policy::StatefulSetPolicy;
use client::kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod, PodCondition, Service},
    storage::v1::StorageClass,
};
use serde_json::{Value, json};

use crate::{
    trace::What,
    wish::{More, Rules, Wish},
    world::World,
};

/// What a person does to a set, each with its weight.
static ACTS: [(&str, u64); 16] = [
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
    // Those that say more than a plain set.
    ("person moves start", 8),
    ("person changes retention", 6),
    ("person edits policy", 10),
    ("person pauses", 8),
    ("person reserves ordinals", 8),
];
/// How many of them are done to plain sets.
const PLAIN: usize = 11;

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
        let Some(wish) = self.wishes.get(number) else { return Ok(()) };
        let object = typed(wish.object())?;
        self.apply_policy(wish).await?;
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
        let plain = self.wishes[number].more.is_none();
        let acts = if plain { &ACTS[..PLAIN] } else { &ACTS[..] };
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
            "person moves start"
            | "person changes retention"
            | "person edits policy"
            | "person pauses"
            | "person reserves ordinals" => {
                self.say_more(act, number);
                self.apply(number).await?;
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

    /// Wishes something else of what only some sets say.
    fn say_more(&mut self, act: &str, number: usize) {
        let world = Arc::clone(&self.world);
        let chance = &world.chance;
        let Some(more) = &mut self.wishes[number].more else { return };
        match act {
            "person moves start" => more.start = chance.between(0, 3),
            "person changes retention" => {
                more.deletes_scaled = chance.percent(50);
                more.deletes_with_set = chance.percent(50);
            }
            "person edits policy" => {
                more.policy = chance.percent(80).then(|| Rules::draw(chance));
            }
            "person pauses" => {
                let rules = more.policy.get_or_insert_default();
                rules.paused = !rules.paused;
            }
            _ => more.policy.get_or_insert_default().reserved = Rules::reserve(chance),
        }
    }

    /// Makes the set what it shall be now, and its policy.
    async fn apply(&self, number: usize) -> Answer {
        let wish = &self.wishes[number];
        self.apply_policy(wish).await?;
        let patch = wish.patch();
        let patch = Patch::Strategic(&patch);
        self.sets().patch(&wish.name, &PatchParams::default(), &patch).await.map(drop)
    }

    async fn apply_policy(&self, wish: &Wish) -> Answer {
        let Some(More { policy, .. }) = &wish.more else { return Ok(()) };
        let policies: Api<StatefulSetPolicy> = Api::namespaced(self.client.clone(), "default");
        let missing = |error: &client::kube::Error| matches!(error, client::kube::Error::Api(status) if status.code == 404);
        let Some(mut wanted) = policy.as_ref().and_then(|_| wish.policy()) else {
            return match policies.delete(&wish.name, &DeleteParams::default()).await {
                Err(error) if !missing(&error) => Err(error),
                _ => Ok(()),
            };
        };
        let params = PatchParams::default();
        match policies.patch(&wish.name, &params, &Patch::Merge(&wanted)).await {
            Err(error) if missing(&error) => {
                wanted["metadata"] = json!({"name": wish.name});
                policies.create(&PostParams::default(), &typed(wanted)?).await.map(drop)
            }
            other => other.map(drop),
        }
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
            if let Some(rules) = wish.more.as_mut().and_then(|more| more.policy.as_mut()) {
                rules.paused = false;
            }
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
    /// for, unless its policy replaces such pods, a foreign pod under the name of one of its own, and a
    /// pod that had its volumes before its claim was deleted, and whose agent has begun anew since: it
    /// mounts none that goes.
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
            let held = had_volumes(&pod)
                && going.iter().any(|claim| claim.strip_prefix("data-") == meta.name.as_deref());
            let alone = bad && self.replaces(meta.name.as_deref().unwrap_or_default());
            if bad && !alone || held || foreign && !ours {
                self.world.trace.say(format!("person takes {:?} away", meta.name));
                self.delete_pod(&pod, false).await?;
            }
        }
        Ok(())
    }
}

impl Person {
    /// Whether the policy of this pod's set sees to pods of bad revisions.
    fn replaces(&self, pod: &str) -> bool {
        let set = pod.rsplit_once('-').map_or("", |(set, _)| set);
        let wish = self.wishes.iter().find(|wish| wish.name == set);
        wish.and_then(Wish::rules).is_some_and(|rules| rules.replace)
    }
}

/// It has not begun, and its node had made all that it needs.
fn had_volumes(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let mut conditions = status.conditions.iter().flatten();
    let mounted =
        |one: &PodCondition| one.type_ == "PodReadyToStartContainers" && one.status == "True";
    status.phase.as_deref() == Some("Pending") && conditions.any(mounted)
}

fn typed<K: serde::de::DeserializeOwned>(value: Value) -> Answer<K> {
    serde_json::from_value(value).map_err(client::kube::Error::SerdeError)
}
