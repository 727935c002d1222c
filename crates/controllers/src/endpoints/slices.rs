//! EndpointSlices: at most 100 endpoints each, one set of ports a slice.

use std::{collections::BTreeMap, sync::Arc};

use api::k8s::{
    api::{
        core::v1::{Pod, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{
    View, headless, hostname, ports, publishes_unready, reachable, ready, reference, terminating,
};
use crate::{Action, Target, Verb};

/// Endpoints in one slice at the most; upstream's `--max-endpoints-per-slice`.
const ENDPOINTS_MAX: usize = 100;

/// The label by which everyone finds a Service's slices.
const SERVICE: &str = "kubernetes.io/service-name";
/// Who keeps a slice.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Endpoints that share a family and ports, as they should be.
struct Group {
    family: &'static str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

/// The writes that make the slices what they should be.
pub(super) fn reconcile(view: &View, service: &Service) -> Vec<Action> {
    let mut groups = groups(view, service);
    if groups.is_empty() {
        // One empty slice, so that whoever watches sees that there is nothing behind the Service.
        let first = view.slices.first();
        let ports = first.and_then(|slice| slice.ports.clone()).unwrap_or_default();
        let family = first.map_or("IPv4", |slice| family(&slice.address_type));
        groups.push(Group { family, ports, endpoints: Vec::new() });
    }
    let mut actions = Vec::new();
    let mut unused: Vec<&Arc<EndpointSlice>> = view.slices.iter().collect();
    let mut taken: Vec<String> =
        view.slices.iter().filter_map(|slice| slice.metadata.name.clone()).collect();
    for group in groups {
        let fits = |slice: &&Arc<EndpointSlice>| {
            slice.address_type == group.family
                && slice.ports.as_deref().unwrap_or_default() == group.ports
        };
        let (kept, rest): (Vec<_>, Vec<_>) = unused.into_iter().partition(fits);
        unused = rest;
        let filled = distribute(&kept, group.endpoints);
        let bare = filled.iter().all(|(_, endpoints)| endpoints.is_empty());
        for (at, (old, endpoints)) in filled.into_iter().enumerate() {
            if endpoints.is_empty()
                && (!bare || at > 0)
                && let Some(old) = old
            {
                actions.push(Action::delete(Target::of(&**old), "no endpoint is left in it"));
                continue;
            }
            let mut wanted = template(service, group.family, &group.ports);
            wanted.endpoints = Some(endpoints).filter(|endpoints| !endpoints.is_empty());
            actions.extend(match old {
                Some(old) => change(old, wanted),
                None => {
                    wanted.metadata.name = Some(free_name(service, &mut taken));
                    let why = "the service's endpoints need it";
                    Some(Action::new(Verb::Create(Box::new(wanted)), why))
                }
            });
        }
    }
    for slice in unused {
        actions.push(Action::delete(Target::of(&**slice), "no endpoint is left in it"));
    }
    actions
}

fn groups(view: &View, service: &Service) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for pod in &view.pods {
        let Some(address) = reachable(pod) else { continue };
        let ports = ports(service, pod);
        let family = if address.contains(':') { "IPv6" } else { "IPv4" };
        let key = format!("{family} {}", serde_json::to_string(&ports).unwrap_or_default());
        let group = groups.entry(key).or_insert(Group { family, ports, endpoints: Vec::new() });
        group.endpoints.push(endpoint(view, service, pod, address));
    }
    groups.into_values().collect()
}

fn family(address_type: &str) -> &'static str {
    if address_type == "IPv6" { "IPv6" } else { "IPv4" }
}

fn endpoint(view: &View, service: &Service, pod: &Pod, address: &str) -> Endpoint {
    let serving = ready(pod);
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_unready(service) || (serving && !terminating(pod))),
            serving: Some(serving),
            terminating: Some(terminating(pod)),
        }),
        hostname: hostname(pod, service),
        zone: node.as_ref().and_then(|node| view.zones.get(node).cloned()),
        node_name: node,
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    }
}

/// A slice that is there, or a new one, and what it should hold.
type Filled<'a> = (Option<&'a Arc<EndpointSlice>>, Vec<Endpoint>);

/// Endpoints stay in the slice they are in; new ones go into a slice that changes anyway, else into
/// the fullest that has room, else into new ones. A slice that none is left in is kept only when it
/// is the first.
fn distribute<'a>(
    slices: &[&'a Arc<EndpointSlice>],
    mut endpoints: Vec<Endpoint>,
) -> Vec<Filled<'a>> {
    let mut result: Vec<Filled<'_>> = Vec::new();
    for slice in slices {
        let known: Vec<_> = slice.endpoints.iter().flatten().map(uid).collect();
        let (kept, rest) = endpoints.into_iter().partition(|one| known.contains(&uid(one)));
        endpoints = rest;
        result.push((Some(slice), kept));
    }
    if result.is_empty() && endpoints.is_empty() {
        result.push((None, Vec::new()));
    }
    for endpoint in endpoints {
        let open = result.iter_mut().filter(|(_, list)| list.len() < ENDPOINTS_MAX);
        let resized = |slice: Option<&Arc<EndpointSlice>>, size: usize| {
            slice.is_none_or(|old| old.endpoints.as_ref().map_or(0, Vec::len) != size)
        };
        match open.max_by_key(|(slice, list)| (resized(*slice, list.len()), list.len())) {
            Some((_, list)) => list.push(endpoint),
            None => result.push((None, vec![endpoint])),
        }
    }
    result
}

fn uid(endpoint: &Endpoint) -> Option<&str> {
    endpoint.target_ref.as_ref().and_then(|pod| pod.uid.as_deref())
}

fn template(service: &Service, family: &str, ports: &[EndpointPort]) -> EndpointSlice {
    let meta = &service.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.insert(SERVICE.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        name,
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    EndpointSlice {
        metadata: ObjectMeta {
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: None,
        ports: Some(ports.to_vec()).filter(|ports| !ports.is_empty()),
    }
}

/// The update of a slice, if it differs from what is wanted.
fn change(old: &Arc<EndpointSlice>, wanted: EndpointSlice) -> Option<Action> {
    let listed = |slice: &EndpointSlice| slice.endpoints.clone().unwrap_or_default();
    if listed(old) == listed(&wanted) && old.metadata.labels == wanted.metadata.labels {
        return None;
    }
    let mut changed = (**old).clone();
    changed.endpoints = wanted.endpoints;
    changed.metadata.labels = wanted.metadata.labels;
    Some(Action::update(changed, None, "the service's endpoints have changed"))
}

/// `<service>-<five characters>`, of the lowest counter whose name is free: a plan names what it
/// makes, so that a stale one meets AlreadyExists.
fn free_name(service: &Service, taken: &mut Vec<String>) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let base = service.metadata.name.as_deref().unwrap_or_default();
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let mut counter: u32 = 0;
    loop {
        let mut sum: u32 = 0x811c_9dc5;
        for byte in uid.bytes().chain(counter.to_le_bytes()) {
            sum = (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        let mut tag = String::new();
        for _ in 0..5 {
            tag.push(char::from(ALPHABET[usize::try_from(sum % 27).unwrap_or(0)]));
            sum /= 27;
        }
        let name = format!("{base}-{tag}");
        if !taken.contains(&name) {
            taken.push(name.clone());
            return name;
        }
        counter += 1;
    }
}
