//! The decision: filters, then scores.

use std::collections::BTreeMap;

use api::requests;
use k8s_openapi::api::core::v1::Pod;

use crate::{
    affinity::Company,
    cluster::Cluster,
    filter, score,
    spread::Spread,
    verdict::{Fault, Placement, Refusal, Verdict},
    volumes::{BIND_COMPLETED, Claims, SELECTED_NODE, Serving, Storage},
};

/// What the scheduler sees when it decides about one pod.
#[derive(Debug)]
pub struct View<'a> {
    /// The pod, without a node.
    pub pod: &'a Pod,
    /// Nodes and the pods on them. The pod itself must not be assumed in it.
    pub cluster: &'a Cluster,
    /// The pod's claims and what could serve them.
    pub storage: &'a Storage,
}

/// Where the pod goes, or why it cannot go anywhere.
///
/// Infallible: any view has an answer, and equal views have equal ones.
#[must_use]
pub fn schedule(view: &View<'_>) -> Verdict {
    let View { pod, cluster, storage } = *view;
    let spec = pod.spec.as_ref();
    if spec.is_some_and(|spec| spec.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty())) {
        return Verdict::Gated;
    }
    let count = cluster.node_count();
    if count == 0 {
        return Verdict::Refused(Refusal::no_nodes());
    }
    let named = filter::only_nodes_named(pod);
    if named.as_ref().is_some_and(Vec::is_empty) {
        return Verdict::Refused(Refusal::before_nodes(count, "pod affinity terms conflict"));
    }
    let claims = match Claims::of(pod, storage) {
        Ok(claims) => claims,
        Err(why) => return Verdict::Refused(Refusal::before_nodes(count, &why)),
    };
    let company = Company::of(pod, cluster);
    let (fitting, faults) = sieve(view, &claims, &company, named.as_deref());
    let names: Vec<&str> = fitting.keys().copied().collect();
    let Some(node) = score::best(pod, cluster, &company, &names) else {
        let policy = spec.and_then(|spec| spec.preemption_policy.as_deref());
        return Verdict::Refused(Refusal::by_nodes(&faults, policy == Some("Never")));
    };
    if claims.all_bound() {
        return Verdict::Bind(node.to_owned());
    }
    let serving = fitting.get(node).cloned().unwrap_or_default();
    Verdict::Prepare(placement(node, serving, claims.unbound()))
}

/// The nodes that will do, each with how it serves the claims; and what is wrong with the rest.
fn sieve<'a>(
    view: &View<'a>,
    claims: &Claims,
    company: &Company,
    named: Option<&[String]>,
) -> (BTreeMap<&'a str, Serving>, BTreeMap<String, Fault>) {
    let View { pod, cluster, storage } = *view;
    let requested = requests::of_pod(pod);
    let spread = Spread::required(pod, cluster);
    let claim_in_use = exclusive_claim_in_use(pod, cluster, storage);
    let mut fitting = BTreeMap::new();
    let mut faults = BTreeMap::new();
    for (name, state, node) in cluster.known() {
        let judged = if named.is_some_and(|named| !named.iter().any(|n| n == name)) {
            Err(Fault::final_("node(s) didn't satisfy plugin(s) [NodeAffinity]"))
        } else {
            filter::node_itself(pod, &requested, state, node)
                .and_then(|()| if claim_in_use { Err(in_use()) } else { Ok(()) })
                .and_then(|()| claims.on(node, storage))
                .and_then(|serving| spread.allows(node).map(|()| serving))
                .and_then(|serving| company.allows(node).map(|()| serving))
        };
        match judged {
            Ok(serving) => drop(fitting.insert(name, serving)),
            Err(fault) => drop(faults.insert(name.to_owned(), fault)),
        }
    }
    (fitting, faults)
}

fn in_use() -> Fault {
    Fault::resolvable(
        "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access \
         mode",
    )
}

/// Whether a claim that only one pod may use is used by another pod, on whatever node.
fn exclusive_claim_in_use(pod: &Pod, cluster: &Cluster, storage: &Storage) -> bool {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    storage.claims.iter().any(|(name, claim)| {
        let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref());
        let exclusive = modes.unwrap_or_default().iter().any(|mode| mode == "ReadWriteOncePod");
        exclusive && cluster.claim_users.contains_key(&(namespace.clone(), name.clone()))
    })
}

/// Only what is still to be written; the rest is waited for.
fn placement(node: &str, serving: Serving, unbound: Vec<String>) -> Placement {
    let Serving { mut reserve, mut provision } = serving;
    reserve.retain(|(claim, volume)| {
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        reference.is_none_or(|reference| reference.uid != claim.metadata.uid)
    });
    provision.retain(|claim| {
        let annotations = claim.metadata.annotations.as_ref();
        annotations
            .is_none_or(|a| !a.contains_key(SELECTED_NODE) && !a.contains_key(BIND_COMPLETED))
    });
    Placement { node: node.to_owned(), reserve, provision, unbound }
}
