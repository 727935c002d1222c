//! A claim: is it bound, and if not, who should have bound it?

use api::k8s::api::core::v1::{PersistentVolumeClaim, Pod};
use controllers::{
    statefulset::member_ordinal,
    volumes::{LOCAL_PROVISIONER, SELECTED_NODE, fit},
};

use crate::{
    explanation::{Case, Cause, Finding, Reason},
    snapshot::{Part, controller_of, created_at, first_seen, name_of},
};

/// A provisioner answers within seconds, or says that it fails.
const SILENCE_S: i64 = 60;
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

impl Case<'_> {
    /// How a claim stands, and what keeps it.
    pub(crate) fn whole_claim(&self, claim: &PersistentVolumeClaim) -> (String, Option<Finding>) {
        let phase = phase(claim);
        let volume = volume_name(claim);
        let summary = match (claim.metadata.deletion_timestamp.is_some(), phase) {
            (true, _) => "it is being deleted".to_owned(),
            (_, "Bound") => format!("it is Bound to pv/{volume}"),
            _ => format!("it is {phase}"),
        };
        let finding = self.claim(claim).map(|finding| self.of_consumer(claim, finding));
        (summary, finding)
    }

    /// A claim that waits for its pod has that pod's cause.
    fn of_consumer(&self, claim: &PersistentVolumeClaim, finding: Finding) -> Finding {
        if finding.cause.reason != Reason::WaitsForConsumer {
            return finding;
        }
        let users = self.seen.users(name_of(&claim.metadata));
        let Some(pod) = users.first() else { return finding };
        self.pod(pod).map_or(finding, |found| found.through("pod", name_of(&pod.metadata)))
    }

    /// The claim of this name, for this pod.
    pub(crate) fn claim_of(&self, pod: &Pod, name: &str) -> Option<Finding> {
        if let Some(claim) = self.seen.claim(name) {
            return self.claim(claim);
        }
        if !self.seen.knows(Part::Claims) {
            return None;
        }
        if let Some(owner) = controller_of(&pod.metadata)
            && let Some(set) = self.seen.set(&owner.name)
            && let Some(event) = self.seen.event("StatefulSet", &set.metadata, &["FailedCreate"])
            && let Some(text) = event.message.as_deref()
            && text.contains(&format!("Claim {name} "))
        {
            let text = text.split_once("failed error: ").map_or(text, |(_, error)| error);
            let mut finding = self.refused(text, name_of(&pod.metadata), &owner.name);
            finding.chain.remove(0); // The pod itself, which leads here.
            return Some(finding.or_since(first_seen(event)));
        }
        let why = "there is no such claim";
        let cure =
            format!("make the claim {name:?}, or change the pod's volume: {}", self.edit(pod));
        Some(Cause::new(Reason::ClaimMissing, why, cure).since(created_at(&pod.metadata)).stuck())
    }

    /// What keeps this claim from being bound, or from going; `None` when nothing does.
    pub(crate) fn claim(&self, claim: &PersistentVolumeClaim) -> Option<Finding> {
        if claim.metadata.deletion_timestamp.is_some() {
            return Some(self.claim_going(claim));
        }
        let since = created_at(&claim.metadata);
        let volume = volume_name(claim);
        match phase(claim) {
            "Bound" => return self.resize(claim),
            "Lost" => {
                let why = format!("its volume {volume:?} is gone, and its data with it");
                let delete = self.kubectl(&format!("delete pvc {}", name_of(&claim.metadata)));
                let cure = format!(
                    "bring pv/{volume} back from a backup; or begin with an empty one: {delete}, then delete its pod"
                );
                return Some(Cause::new(Reason::ClaimLost, why, cure).stuck());
            }
            _ if !volume.is_empty() => return self.named_volume(claim, volume),
            _ => (),
        }
        let class_name = fit::claim_class(claim);
        let class = self.seen.class(class_name);
        if class.is_none() && !class_name.is_empty() {
            return self.class_missing(claim, class_name);
        }
        let Some(class) = class else { return Some(self.no_volume(claim, None)) };
        let delayed = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
        if delayed && !annotated(claim, SELECTED_NODE) {
            if class.provisioner == NO_PROVISIONER && self.none_fits(claim) {
                return Some(self.no_volume(claim, Some(class_name)));
            }
            return Some(self.waits_for_consumer(claim));
        }
        if class.provisioner == NO_PROVISIONER {
            return self.none_fits(claim).then(|| self.no_volume(claim, Some(class_name)));
        }
        let reasons = ["ProvisioningFailed", "ProvisioningCleanupFailed"];
        if let Some(event) = self.seen.event("PersistentVolumeClaim", &claim.metadata, &reasons) {
            let said = event.message.as_deref().unwrap_or_default();
            let why = format!("its provisioner {} fails: {said}", class.provisioner);
            let cure = format!("mend what {} says, or use another class", class.provisioner);
            let cause = Cause::new(Reason::ProvisionerFails, why, cure).since(first_seen(event));
            return Some(cause.stuck().through("storageclass", class_name));
        }
        let why = format!("its provisioner {} has made no volume yet", class.provisioner);
        let cure = match class.provisioner.as_str() {
            LOCAL_PROVISIONER => "let a node join that keeps local volumes: `stead up`".to_owned(),
            other => format!(
                "see that the provisioner {other} runs in this cluster; this class needs it"
            ),
        };
        let cause = Cause::new(Reason::ProvisionerSilent, why, cure).since(since);
        let late = self.age_s(since) > SILENCE_S;
        let finding = if late { cause.stuck() } else { cause.waiting() };
        Some(finding.through("storageclass", class_name))
    }

    fn class_missing(&self, claim: &PersistentVolumeClaim, class: &str) -> Option<Finding> {
        if !self.none_fits(claim) || !self.seen.knows(Part::Classes) {
            return None;
        }
        let others: Vec<&str> = self.seen.classes.iter().map(|c| name_of(&c.metadata)).collect();
        let others = match others.as_slice() {
            [] => "there is none at all".to_owned(),
            names => format!("there are: {}", names.join(", ")),
        };
        let why = format!("there is no such class ({others}), and no volume has that class");
        let cure = format!(
            "make a StorageClass {class:?}; or {}",
            self.with_other_claim(claim, "another class")
        );
        let cause = Cause::new(Reason::ClassMissing, why, cure).since(created_at(&claim.metadata));
        Some(cause.stuck().through("storageclass", class))
    }

    /// How a claim gets another spec, which nobody may change in place.
    pub(crate) fn with_other_claim(&self, claim: &PersistentVolumeClaim, what: &str) -> String {
        let name = name_of(&claim.metadata);
        let of_set = self.seen.sets.iter().find_map(|set| {
            let set_name = name_of(&set.metadata);
            let templates = set.spec.as_ref()?.volume_claim_templates.as_ref()?;
            let made = templates.iter().any(|template| {
                let prefix = format!("{}-", name_of(&template.metadata));
                name.strip_prefix(&prefix)
                    .is_some_and(|pod| member_ordinal(set_name, pod).is_some())
            });
            made.then_some(set_name)
        });
        let delete = self.kubectl(&format!("delete pvc {name}"));
        match of_set {
            Some(set) => format!(
                "with {what} in volumeClaimTemplates: {}, {delete}, and apply the set again",
                self.kubectl(&format!("delete statefulset {set} --cascade=orphan"))
            ),
            None => format!("{delete}, and make it anew with {what}"),
        }
    }

    fn waits_for_consumer(&self, claim: &PersistentVolumeClaim) -> Finding {
        let why = "its class waits until a pod uses the claim (WaitForFirstConsumer)";
        let cure = "none needed: a pod that uses it gets it bound";
        Cause::new(Reason::WaitsForConsumer, why, cure).since(created_at(&claim.metadata)).waiting()
    }

    fn claim_going(&self, claim: &PersistentVolumeClaim) -> Finding {
        let since = claim.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let name = name_of(&claim.metadata);
        let users = self.seen.users(name);
        let protected =
            claim.metadata.finalizers.iter().flatten().any(|f| f == "kubernetes.io/pvc-protection");
        if let (true, Some(pod)) = (protected, users.first()) {
            let pod = name_of(&pod.metadata);
            let why =
                format!("it was deleted, and lives on while a pod uses it (pvc-protection): {pod}");
            let delete = self.kubectl(&format!("delete pod {pod}"));
            let cure = format!("{delete}; the claim goes then, and a set makes a new, empty one");
            let cause = Cause::new(Reason::ClaimTerminating, why, cure).since(since);
            return cause.stuck().through("pod", pod);
        }
        if protected && claim.metadata.finalizers.iter().flatten().count() == 1 {
            let why = "it was deleted, and no pod uses it any more";
            let cure = "none needed: it goes as soon as the cluster's claim controller has looked";
            return Cause::new(Reason::ClaimTerminating, why, cure).since(since).waiting();
        }
        self.held(&claim.metadata, "pvc", since)
    }

    fn resize(&self, claim: &PersistentVolumeClaim) -> Option<Finding> {
        let conditions = claim.status.as_ref()?.conditions.as_ref()?;
        let failed = conditions.iter().find(|condition| {
            matches!(condition.type_.as_str(), "ControllerResizeError" | "NodeResizeError")
                && condition.status == "True"
        })?;
        let why =
            format!("its volume cannot be grown: {}", failed.message.clone().unwrap_or_default());
        let name = name_of(&claim.metadata);
        let cure = format!(
            "ask for no more than it has: {}; or mend what the message says",
            self.kubectl(&format!("edit pvc {name}"))
        );
        let since = failed.last_transition_time.as_ref().map(|time| time.0);
        Some(Cause::new(Reason::ResizeFails, why, cure).since(since).works())
    }
}

pub(crate) fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

fn annotated(claim: &PersistentVolumeClaim, key: &str) -> bool {
    claim.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(key))
}
