//! The table of controllers: what each reads, what wakes it, and how its view is filled.
//!
//! One file a controller, without any decision: those are in crates `controllers` and `scheduler`.

mod endpoints;
mod garbage;
mod kubedns;
mod namespaces;
mod nodes;
mod scheduling;
mod serviceaccounts;
mod statefulset;
mod volumes;

use client::Key;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::start::{Options, Table};

/// Pods that are bound at the same time; decisions are made one by one whatever the number.
const BINDERS: usize = 16;
/// Objects that garbage collection works on at once; upstream's default.
const COLLECTORS: usize = 20;

/// Enters every controller there is.
pub(crate) fn all(table: &mut Table, options: &Options) {
    let workers = options.workers;
    let budgets = table.budgets.clone();
    let (plan, quotas) = (options.plan_sets, options.quotas);
    table.add(statefulset::Sets::new(options.statefulset, plan, quotas, budgets), workers);
    table.add(endpoints::Endpoints::slices(), workers);
    table.add(endpoints::Endpoints::legacy(), workers);
    table.add(serviceaccounts::Defaults::accounts(&options.ca_pem), workers);
    table.add(serviceaccounts::Defaults::certificates(&options.ca_pem), workers);
    table.add(volumes::Claims::default(), workers);
    table.add(volumes::Volumes, workers);
    table.add(volumes::Growth, workers);
    table.add(nodes::Lifecycle::new(options.pods, &options.now), workers);
    table.add(nodes::Eviction, workers);
    table.add(nodes::Orphans, workers);
    if let Some(dns) = options.dns {
        table.add(kubedns::KubeDns { dns }, 1);
    }
    table.add(namespaces::Namespaces, workers);
    table.add(garbage::Garbage::default(), COLLECTORS);
    table.add(scheduling::Scheduling::default(), BINDERS);
}

/// The owner with `controller: true`, if it is of this kind: its key in the object's namespace.
fn controller_of(meta: &ObjectMeta, kind: &str) -> Option<Key> {
    let mut owners = meta.owner_references.iter().flatten();
    let owner: &OwnerReference = owners.find(|owner| owner.controller == Some(true))?;
    (owner.kind == kind).then(|| Key::new(namespace(meta), &owner.name))
}

fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}
