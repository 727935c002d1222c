//! A Service: whom it selects, who of them is ready, and whether a set's names resolve by it.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    k8s::{
        api::{
            apps::v1::StatefulSet,
            core::v1::{Pod, Service},
        },
        apimachinery::pkg::util::intstr::IntOrString,
    },
    selector::Labels,
};

use crate::{
    explanation::{Case, Cause, Finding, Reason},
    pod::{phase, ready},
    snapshot::{Part, created_at, name_of},
};

/// Endpoints follow their pods within seconds.
const SILENCE_S: i64 = 15;

impl Case<'_> {
    /// How a Service stands, and what keeps it.
    pub(crate) fn whole_service(&self, service: &Service) -> (String, Option<Finding>) {
        let spec = service.spec.clone().unwrap_or_default();
        if spec.type_.as_deref() == Some("ExternalName") {
            let name = spec.external_name.unwrap_or_default();
            return (format!("it is a name for {name}, and has no endpoints"), None);
        }
        if !self.seen.knows(Part::Pods) {
            return ("its pods could not be read".to_owned(), Some(self.unreadable(Part::Pods)));
        }
        let (up, down) = self.endpoints(service);
        let selector = spec.selector.clone().unwrap_or_default();
        if selector.is_empty() {
            let summary = format!("it has no selector, and {up} endpoints are ready");
            return (summary, (up == 0).then(|| self.without_selector(service)));
        }
        let pods = self.selected(&selector);
        let ready_pods = pods.iter().filter(|pod| ready(pod)).count();
        let summary = format!("{ready_pods} of {} pods behind it are ready", pods.len());
        if pods.is_empty() {
            return (
                "it has no endpoints".to_owned(),
                Some(self.selects_nothing(service, &selector)),
            );
        }
        let stuck = pods.iter().find(|pod| !ready(pod));
        if let Some(pod) = stuck.filter(|_| spec.publish_not_ready_addresses != Some(true)) {
            let finding = self.pod(pod).map(|found| found.through("pod", name_of(&pod.metadata)));
            if let Some(mut finding) = finding {
                if ready_pods > 0 && finding.state == crate::State::Stuck {
                    finding.state = crate::State::Works;
                }
                return (summary, Some(finding));
            }
        }
        if let Some(finding) = port_missing(self, service, &pods) {
            return (summary, Some(finding));
        }
        if up == 0 && ready_pods > 0 && self.seen.knows(Part::Slices) {
            return (summary, Some(self.endpoints_missing(service, &pods)));
        }
        let pending = spec.type_.as_deref() == Some("LoadBalancer") && !has_ingress(service);
        if pending {
            let why = "nobody has given it an external address: nothing in this cluster makes load balancers, or it has not answered";
            let cure = format!(
                "use NodePort or externalIPs: {}",
                self.kubectl(&format!("edit service {}", name_of(&service.metadata)))
            );
            let cause = Cause::new(Reason::LoadBalancerPending, why, cure);
            return (summary, Some(cause.since(created_at(&service.metadata)).works()));
        }
        let summary = format!("{summary}, {up} endpoints are served");
        (if down > 0 { format!("{summary}, {down} are not ready") } else { summary }, None)
    }

    /// Endpoints of its slices: ready and not.
    fn endpoints(&self, service: &Service) -> (usize, usize) {
        let name = name_of(&service.metadata);
        let mine = self.seen.slices.iter().filter(|slice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|l| l.get("kubernetes.io/service-name")).map(String::as_str)
                == Some(name)
        });
        let (mut up, mut down) = (0, 0);
        for endpoint in mine.flat_map(|slice| slice.endpoints.iter().flatten()) {
            let ready = endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
            if ready { up += 1 } else { down += 1 }
        }
        (up, down)
    }

    fn selected(&self, selector: &BTreeMap<String, String>) -> Vec<&Arc<Pod>> {
        let labels = Labels::exactly(selector);
        let ended = |pod: &Pod| matches!(phase(pod), "Failed" | "Succeeded");
        let pods = self.seen.pods.iter();
        pods.filter(|pod| labels.matches(pod.metadata.labels.as_ref()) && !ended(pod)).collect()
    }

    fn without_selector(&self, service: &Service) -> Finding {
        let name = name_of(&service.metadata);
        let why = "it has no selector, so somebody must write its endpoints, and nobody has";
        let cure = format!(
            "{}, or write an EndpointSlice with the label kubernetes.io/service-name={name}",
            self.kubectl(&format!("set selector service {name} KEY=VALUE"))
        );
        let since = created_at(&service.metadata);
        Cause::new(Reason::NoSelector, why, cure).since(since).stuck()
    }

    fn selects_nothing(&self, service: &Service, selector: &BTreeMap<String, String>) -> Finding {
        let name = name_of(&service.metadata);
        let since = created_at(&service.metadata);
        let wanted = shown(selector);
        let meant = self.seen.sets.iter().find(|set| {
            set.spec.as_ref().is_some_and(|spec| spec.service_name.as_deref() == Some(name))
        });
        let labels =
            meant.and_then(|set| set.spec.as_ref()?.template.metadata.as_ref()?.labels.clone());
        if let (Some(set), Some(labels)) = (meant, &labels)
            && Labels::exactly(selector).matches(Some(labels))
        {
            let set_name = name_of(&set.metadata);
            let (_, finding) = self.whole_set(set);
            let finding = finding.unwrap_or_else(|| {
                let why =
                    format!("no pod has the labels {wanted}: statefulset/{set_name} has none now");
                let cure = self.kubectl(&format!("scale statefulset {set_name} --replicas=1"));
                Cause::new(Reason::SelectorMatchesNothing, why, cure).since(since).stuck()
            });
            return finding.through("statefulset", set_name);
        }
        let like = labels.or_else(|| self.nearest(selector));
        let why = match &like {
            Some(labels) => format!(
                "its selector {wanted} matches no pod; near it are pods with {}",
                shown(labels)
            ),
            None => format!("its selector {wanted} matches no pod, and there is no pod like that"),
        };
        let cure = match &like {
            Some(labels) => {
                let same = labels.iter().filter(|(key, _)| selector.contains_key(*key));
                let same: BTreeMap<String, String> =
                    same.map(|(k, v)| (k.clone(), v.clone())).collect();
                let meant = if same.is_empty() { labels } else { &same };
                self.kubectl(&format!("set selector service {name} {}", shown(meant)))
            }
            None => "start pods with these labels, or change its selector".to_owned(),
        };
        Cause::new(Reason::SelectorMatchesNothing, why, cure).since(since).stuck()
    }

    /// The labels of a pod that shares a label, or at least a label's key, with the selector.
    fn nearest(&self, selector: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
        let alike = |labels: &BTreeMap<String, String>| {
            let shared = |(key, value): &(&String, &String)| match labels.get(*key) {
                Some(own) if own == *value => 2,
                Some(_) => 1,
                None => 0,
            };
            selector.iter().map(|pair| shared(&pair)).sum::<usize>()
        };
        let all = self.seen.pods.iter().filter_map(|pod| pod.metadata.labels.as_ref());
        let nearest = all.max_by_key(|labels| alike(labels)).filter(|labels| alike(labels) > 0)?;
        Some(own_labels(nearest))
    }

    fn endpoints_missing(&self, service: &Service, pods: &[&Arc<Pod>]) -> Finding {
        let changed = pods.iter().filter_map(|pod| {
            let ready = crate::pod::condition(pod, "Ready")?;
            ready.last_transition_time.as_ref().map(|time| time.0)
        });
        let since = changed.max().or_else(|| created_at(&service.metadata));
        let why = "its pods are ready, and its EndpointSlices do not name them";
        let cure = "see that the cluster's endpoint slice controller runs: `stead up`, or kube-controller-manager";
        let cause = Cause::new(Reason::EndpointsMissing, why, cure).since(since);
        if self.age_s(since) > SILENCE_S { cause.stuck() } else { cause.waiting() }
    }

    /// A set that runs: do its pods' names resolve?
    pub(crate) fn service_of(&self, set: &StatefulSet) -> Option<Finding> {
        let spec = set.spec.as_ref()?;
        let name = spec.service_name.as_deref().filter(|name| !name.is_empty())?;
        if !self.seen.knows(Part::Services) {
            return None;
        }
        let labels = spec
            .template
            .metadata
            .as_ref()
            .and_then(|meta| meta.labels.clone())
            .unwrap_or_default();
        let pod = format!("{}-0.{name}", name_of(&set.metadata));
        let Some(service) = self.seen.service(name) else {
            let why = format!(
                "the set's Service does not exist; its pods run, but names such as {pod} do not resolve"
            );
            let selector = own_labels(&labels);
            let cure = format!(
                "{}, then {}",
                self.kubectl(&format!("create service clusterip {name} --clusterip=None")),
                self.kubectl(&format!("set selector service {name} {}", shown(&selector)))
            );
            let cause = Cause::new(Reason::ServiceMissing, why, cure);
            return Some(cause.since(created_at(&set.metadata)).works().through("service", name));
        };
        let service_spec = service.spec.as_ref()?;
        let selector = service_spec.selector.clone().unwrap_or_default();
        let matches = Labels::exactly(&selector).matches(Some(&labels));
        let edit =
            self.kubectl(&format!("set selector service {name} {}", shown(&own_labels(&labels))));
        if !selector.is_empty() && !matches {
            let why = format!(
                "its selector {} does not match the set's pods; names such as {pod} do not resolve",
                shown(&selector)
            );
            let cause = Cause::new(Reason::ServiceMismatch, why, edit);
            return Some(
                cause.since(created_at(&service.metadata)).works().through("service", name),
            );
        }
        None
    }
}

/// A named target port that a pod's containers lack.
fn port_missing(case: &Case<'_>, service: &Service, pods: &[&Arc<Pod>]) -> Option<Finding> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    for port in ports {
        let Some(IntOrString::String(target)) = &port.target_port else { continue };
        let lacks = |pod: &&&Arc<Pod>| {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            !containers
                .flat_map(|container| container.ports.iter().flatten())
                .any(|own| own.name.as_ref() == Some(target))
        };
        let Some(pod) = pods.iter().find(lacks) else { continue };
        let why = format!(
            "port {} goes to the port named {target:?}, which no container of {} has",
            port.port,
            name_of(&pod.metadata)
        );
        let cure = format!(
            "{}: targetPort; or name the container's port: {}",
            case.kubectl(&format!("edit service {}", name_of(&service.metadata))),
            case.edit(pod)
        );
        let cause = Cause::new(Reason::PortMissing, why, cure).since(created_at(&service.metadata));
        return Some(cause.stuck().through("pod", name_of(&pod.metadata)));
    }
    None
}

fn has_ingress(service: &Service) -> bool {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_ref()).is_some_and(|list| !list.is_empty())
}

/// Labels without those that differ from pod to pod.
fn own_labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shared = |key: &str| {
        !matches!(
            key,
            "controller-revision-hash"
                | "pod-template-hash"
                | "apps.kubernetes.io/pod-index"
                | "statefulset.kubernetes.io/pod-name"
        )
    };
    let own = labels.iter().filter(|(key, _)| shared(key));
    own.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// `app=web,tier=db`
fn shown(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
