//! What is wrong with nodes, namespaces and service accounts.

use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};

use super::{
    address::{dual_stack, valid_cidr},
    placement::taints,
    resources::amount,
};
use crate::{
    field::Cause,
    names,
    resource::Part,
    validation::{
        metadata::standard_finalizer,
        report::{At, Report, entries, items, text},
    },
};

pub(crate) fn namespace(namespace: &Namespace, old: Option<&Namespace>, part: Part) -> Vec<Cause> {
    let mut out = Report::default();
    let spec = At::new("spec");
    let at = spec.field("finalizers");
    let finalizers = namespace.spec.as_ref().map(|spec| items(&spec.finalizers));
    for name in finalizers.unwrap_or_default() {
        out.faults(at, name, names::qualified_name(name));
        standard_finalizer(name, at, &mut out);
    }
    if old.is_some() && part == Part::Status {
        let phase = namespace.status.as_ref().map_or("", |status| text(&status.phase));
        let ending = namespace.metadata.deletion_timestamp.is_some();
        let status = At::new("status");
        if !ending && phase != "Active" {
            let why = "may only be 'Active' if `deletionTimestamp` is empty";
            out.invalid(status.field("Phase"), phase, why);
        }
        if ending && phase != "Terminating" {
            let why = "may only be 'Terminating' if `deletionTimestamp` is not empty";
            out.invalid(status.field("Phase"), phase, why);
        }
    }
    out.into_causes()
}

pub(crate) fn node(node: &Node, old: Option<&Node>, _: Part) -> Vec<Cause> {
    let mut out = Report::default();
    let empty = Default::default();
    let spec = node.spec.as_ref().unwrap_or(&empty);
    let metadata = At::new("metadata");
    taints(items(&spec.taints), metadata.field("taints"), &mut out);
    if let Some(status) = &node.status {
        let at = At::new("status");
        for (field, list) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)]
        {
            for (name, written) in entries(list) {
                let list = at.field(field);
                amount(name, written, list.field(name), &mut out);
            }
        }
        let addresses = items(&status.addresses);
        for (index, address) in addresses.iter().enumerate() {
            if addresses[..index].contains(address) {
                let value = serde_json::to_value(address).unwrap_or_default();
                out.duplicate(at.field("addresses").index(index), value);
            }
        }
    }
    let at = At::new("spec");
    pod_networks(items(&spec.pod_cidrs), at.field("podCIDRs"), &mut out);
    let Some(old) = old.and_then(|old| old.spec.as_ref()) else { return out.into_causes() };
    if !items(&old.pod_cidrs).is_empty() && spec.pod_cidrs != old.pod_cidrs {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        out.forbidden(at.field("podCIDRs"), why);
    }
    if !text(&old.provider_id).is_empty() && spec.provider_id != old.provider_id {
        let why = "node updates may not change providerID except from \"\" to valid";
        out.forbidden(at.field("providerID"), why);
    }
    if spec.external_id != old.external_id {
        out.forbidden(at.field("externalID"), "may not be updated");
    }
    out.into_causes()
}

fn pod_networks(list: &[String], at: At<'_>, out: &mut Report) {
    let networks: Vec<_> = list
        .iter()
        .enumerate()
        .filter_map(|(index, network)| valid_cidr(at.index(index), network, out))
        .collect();
    if list.len() > 1 && networks.len() == list.len() && !dual_stack(&networks) {
        out.invalid_object(at, &list, "may specify no more than one CIDR for each IP family");
    }
}

pub(crate) fn service_account(
    _: &ServiceAccount,
    _: Option<&ServiceAccount>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}
