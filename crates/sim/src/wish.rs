//! What the person wants of a set, and of the policy that goes with it.

use serde_json::{Value, json};

use crate::{chance::Chance, judge::PolicySpec};

/// The highest ordinal that is ever reserved.
const RESERVED_MAX: u64 = 5;

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
    /// What not every set says.
    pub(crate) more: Option<More>,
}

/// What upstream's defaults leave alone, and what only a policy can say.
#[derive(Debug, Clone)]
pub(crate) struct More {
    /// The first ordinal.
    pub(crate) start: u64,
    /// Claims go when their pods are scaled away.
    pub(crate) deletes_scaled: bool,
    /// Claims go with the set.
    pub(crate) deletes_with_set: bool,
    pub(crate) policy: Option<Rules>,
}

/// A StatefulSetPolicy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) replace: bool,
    pub(crate) max_unavailable: Option<u64>,
    pub(crate) batched: bool,
    /// Pods being made or removed at once.
    pub(crate) pace: Option<u64>,
    pub(crate) paused: bool,
    pub(crate) reserved: Vec<u64>,
    /// The claims of reserved ordinals go.
    pub(crate) drop_claims: bool,
}

impl Wish {
    /// A plain set as chance has it.
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
            more: None,
        }
    }

    /// The set as a person writes it.
    pub(crate) fn object(&self) -> Value {
        let claims = json!([{"metadata": {"name": "data"}, "spec": {
            "storageClassName": "local-path", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}]);
        let mounts = json!([{"name": "data", "mountPath": "/data"}]);
        let none = json!([]);
        let mut set = json!({"metadata": {"name": self.name}, "spec": {
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
        }});
        self.say_more(&mut set["spec"]);
        set
    }

    /// What the set shall be now, as a patch.
    pub(crate) fn patch(&self) -> Value {
        let mut patch = json!({"spec": {
            "replicas": self.replicas,
            "updateStrategy": {"rollingUpdate": {"partition": self.partition}},
            "template": {"spec": {"containers": [{"name": "main", "image": self.image}]}},
        }});
        self.say_more(&mut patch["spec"]);
        patch
    }

    fn say_more(&self, spec: &mut Value) {
        let Some(more) = &self.more else { return };
        let says = |deletes| if deletes { "Delete" } else { "Retain" };
        spec["ordinals"] = json!({"start": more.start});
        spec["persistentVolumeClaimRetentionPolicy"] = json!({
            "whenScaled": says(more.deletes_scaled),
            "whenDeleted": says(more.deletes_with_set),
        });
    }

    /// Its policy, where it has one.
    pub(crate) fn rules(&self) -> Option<&Rules> {
        self.more.as_ref()?.policy.as_ref()
    }

    /// The policy as a patch: what is not wished is taken away.
    pub(crate) fn policy(&self) -> Option<Value> {
        let rules = self.rules()?;
        let reserved: Vec<String> = rules.reserved.iter().map(u64::to_string).collect();
        Some(json!({"spec": {
            "statefulSetName": self.name,
            "paused": rules.paused,
            "rollout": {
                "replaceBrokenPods": rules.replace,
                "maxUnavailable": rules.max_unavailable,
                "creation": if rules.batched { "Batched" } else { "Ordered" },
            },
            "scaling": {"maxUnavailable": rules.pace},
            "ordinals": {
                "reserved": reserved,
                "claims": if rules.drop_claims { "Delete" } else { "Retain" },
            },
        }}))
    }

    /// The policy as the judge reads it.
    pub(crate) fn law(&self) -> PolicySpec {
        let spec = self.policy().map(|policy| policy["spec"].clone());
        spec.and_then(|spec| serde_json::from_value(spec).ok()).unwrap_or_default()
    }
}

impl More {
    pub(crate) fn draw(chance: &Chance) -> Self {
        Self {
            start: if chance.percent(40) { chance.between(1, 3) } else { 0 },
            deletes_scaled: chance.percent(50),
            deletes_with_set: chance.percent(50),
            policy: chance.percent(70).then(|| Rules::draw(chance)),
        }
    }
}

impl Rules {
    pub(crate) fn draw(chance: &Chance) -> Self {
        let some = |percent| chance.percent(percent).then(|| chance.between(1, 3));
        let max_unavailable = some(50);
        Self {
            replace: chance.percent(50),
            max_unavailable,
            batched: max_unavailable.is_some() && chance.percent(50),
            pace: some(25),
            paused: false,
            reserved: if chance.percent(40) { Self::reserve(chance) } else { Vec::new() },
            drop_claims: chance.percent(50),
        }
    }

    /// Up to two ordinals.
    pub(crate) fn reserve(chance: &Chance) -> Vec<u64> {
        let mut reserved: Vec<u64> =
            (0..chance.below(3)).map(|_| chance.between(0, RESERVED_MAX)).collect();
        reserved.sort_unstable();
        reserved.dedup();
        reserved
    }
}
