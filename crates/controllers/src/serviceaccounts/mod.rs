//! What every namespace has: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.
//!
//! Source: kubernetes v1.36 `serviceaccounts_controller.go` and
//! `pkg/controller/certificates/rootcacertpublisher`.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use api::k8s::{
    api::core::v1::{ConfigMap, Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{Action, Plan, Verb};

const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using \
    internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
    guaranteed across distributions of Kubernetes clusters.";

/// What the decision about one namespace may see.
#[derive(Debug, Clone)]
pub struct View {
    /// The namespace.
    pub namespace: Arc<Namespace>,
    /// Its ServiceAccount `default`, if it has one.
    pub default_account: Option<Arc<ServiceAccount>>,
    /// Its ConfigMap `kube-root-ca.crt`, if it has one.
    pub root_ca: Option<Arc<ConfigMap>>,
    /// The cluster's CA certificate, PEM.
    pub ca_pem: Arc<str>,
}

/// Decides what this namespace lacks. Total and deterministic.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::default();
    if view.namespace.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let named = |name: &str| ObjectMeta {
        name: Some(name.to_owned()),
        namespace: view.namespace.metadata.name.clone(),
        ..ObjectMeta::default()
    };
    if view.default_account.is_none() {
        let account = ServiceAccount { metadata: named("default"), ..ServiceAccount::default() };
        plan.actions.push(Action::new(Verb::Create(Box::new(account)), "each namespace has one"));
    }
    let data = BTreeMap::from([("ca.crt".to_owned(), view.ca_pem.to_string())]);
    match &view.root_ca {
        None => {
            let mut metadata = named(ROOT_CA);
            let note = ("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned());
            metadata.annotations = Some(BTreeMap::from([note]));
            let map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
            plan.actions.push(Action::new(Verb::Create(Box::new(map)), "each namespace has one"));
        }
        Some(map) if map.data.as_ref() != Some(&data) => {
            let mut changed = (**map).clone();
            changed.data = Some(data);
            plan.actions.push(Action::update(changed, None, "it is not the cluster's certificate"));
        }
        Some(_) => (),
    }
    plan
}
