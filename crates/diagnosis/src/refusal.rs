//! What the server said when it refused a set's pod or claim.

use crate::{
    explanation::{Case, Cause, Finding, Reason},
    snapshot::name_of,
};

impl Case<'_> {
    /// The cause behind this error of the server, on the way to pod `pod` of set `set`.
    pub(crate) fn refused(&self, text: &str, pod: &str, set: &str) -> Finding {
        let edit = self.kubectl(&format!("edit statefulset {set}"));
        let finding = self.known_refusal(text, pod, set, &edit).unwrap_or_else(|| {
            let why = format!("the server refuses it: {text}");
            Cause::new(Reason::Refused, why, format!("mend what the server says: {edit}")).stuck()
        });
        finding.through("pod", pod)
    }

    fn known_refusal(&self, text: &str, pod: &str, set: &str, edit: &str) -> Option<Finding> {
        let said = |why: &str| format!("{why}: {text}");
        if let Some(name) = between(text, "exceeded quota: ", ",") {
            let why = format!(
                "this quota is spent: {}",
                after(text, &format!("exceeded quota: {name}, "))
            );
            let cure =
                format!("{}, or ask for less: {edit}", self.kubectl(&format!("edit quota {name}")));
            return Some(
                Cause::new(Reason::QuotaExceeded, why, cure).stuck().through("resourcequota", name),
            );
        }
        if let Some(name) = between(text, "failed quota: ", ":") {
            let why = format!(
                "this quota wants sizes: {}",
                after(text, &format!("failed quota: {name}: "))
            );
            let cure = format!("give every container these sizes: {edit}");
            return Some(
                Cause::new(Reason::QuotaExceeded, why, cure).stuck().through("resourcequota", name),
            );
        }
        if text.contains("already exists") {
            if let Some(other) = self.seen.pod(pod) {
                let whose = crate::snapshot::controller_of(&other.metadata);
                let whose = whose.map_or_else(
                    || "nobody".to_owned(),
                    |o| format!("{}/{}", o.kind.to_lowercase(), o.name),
                );
                let why =
                    format!("another pod has the name that the set needs: it belongs to {whose}");
                let cure = self.kubectl(&format!("delete pod {}", name_of(&other.metadata)));
                return Some(Cause::new(Reason::NameSquatted, why, cure).stuck());
            }
            let why = said("the name is taken");
            return Some(
                Cause::new(Reason::NameSquatted, why, "none needed: the set tries again").waiting(),
            );
        }
        if let Some(claim) = between(text, "pvc ", " is being deleted") {
            let found = self.seen.claim(claim);
            let finding = found.and_then(|claim| self.claim(claim));
            let finding = finding.unwrap_or_else(|| {
                Cause::new(
                    Reason::ClaimTerminating,
                    said("its claim is being deleted"),
                    "none needed: the set tries again",
                )
                .waiting()
            });
            return Some(finding.through("pvc", claim));
        }
        self.refused_by_policy(text, edit).or_else(|| self.refused_for_lack(text, set, edit))
    }

    fn refused_by_policy(&self, text: &str, edit: &str) -> Option<Finding> {
        if text.contains("denied the request") || text.contains("denied request") {
            let who = between(text, "admission webhook \"", "\"")
                .or_else(|| between(text, "ValidatingAdmissionPolicy '", "'"))
                .unwrap_or("a policy")
                .to_owned();
            let told = text
                .split_once("denied the request: ")
                .or_else(|| text.split_once("denied request: "));
            let why = format!("admission refuses it: {}", told.map_or(text, |(_, told)| told));
            let cure = format!("mend what it says: {edit}; or change the rule of {who}");
            return Some(
                Cause::new(Reason::AdmissionRefused, why, cure).stuck().through("admission", who),
            );
        }
        if let Some(who) = between(text, "failed calling webhook \"", "\"") {
            let why = format!("a webhook that must be asked does not answer: {text}");
            let cure = "start the webhook's server; or remove its ValidatingWebhookConfiguration or \
                        MutatingWebhookConfiguration";
            return Some(
                Cause::new(Reason::WebhookDown, why, cure).stuck().through("admission", who),
            );
        }
        if let Some(level) = between(text, "violates PodSecurity \"", "\"") {
            let namespace = &self.seen.namespace;
            let why = format!(
                "the namespace's pod security level {level} refuses it: {}",
                after(text, "\": ")
            );
            let cure = format!(
                "mend its securityContext: {edit}; or kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=LEVEL --overwrite"
            );
            return Some(Cause::new(Reason::PodSecurity, why, cure).stuck());
        }
        let limits = [
            "maximum cpu usage",
            "maximum memory usage",
            "minimum cpu usage",
            "minimum memory usage",
            "max limit to request ratio",
            "maximum storage usage",
            "minimum storage usage",
        ];
        if limits.iter().any(|limit| text.contains(limit)) {
            let why = format!("a LimitRange refuses its sizes: {text}");
            let cure = format!(
                "change its requests and limits: {edit}; or {}",
                self.kubectl("edit limitrange")
            );
            return Some(Cause::new(Reason::LimitRange, why, cure).stuck());
        }
        None
    }

    fn refused_for_lack(&self, text: &str, set: &str, edit: &str) -> Option<Finding> {
        if text.contains("service account") || text.contains("serviceaccount") {
            let name = between(text, "serviceaccount \"", "\"").unwrap_or("NAME");
            let why = "its service account does not exist";
            let cure = format!(
                "{}, or change serviceAccountName: {edit}",
                self.kubectl(&format!("create serviceaccount {name}"))
            );
            return Some(
                Cause::new(Reason::ServiceAccountMissing, why, cure)
                    .stuck()
                    .through("serviceaccount", name),
            );
        }
        if let Some(name) = between(text, "no PriorityClass with name ", " was found") {
            let why = "its priority class does not exist";
            let cure = format!(
                "kubectl create priorityclass {name} --value=1000, or change priorityClassName: {edit}"
            );
            return Some(
                Cause::new(Reason::PriorityClassMissing, why, cure)
                    .stuck()
                    .through("priorityclass", name),
            );
        }
        if text.contains("is being terminated") {
            let namespace = &self.seen.namespace;
            let why = "its namespace is being deleted: nothing new may be made in it";
            let cure = format!(
                "none while it goes; kubectl get namespace {namespace} -o yaml says what it waits for"
            );
            return Some(
                Cause::new(Reason::NamespaceTerminating, why, cure)
                    .stuck()
                    .through("namespace", namespace),
            );
        }
        if text.contains("must be no more than 63") {
            let why = format!(
                "the set's name has {} characters, and no room for the revision that its pods' labels carry: {text}",
                set.len()
            );
            let cure = "make the set anew under a name of at most 52 characters";
            return Some(Cause::new(Reason::NameTooLong, why, cure).stuck());
        }
        None
    }
}

/// What stands between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(found, _)| found)
}

/// What stands after a mark; all of it without the mark.
fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    text.split_once(mark).map_or(text, |(_, rest)| rest)
}
