//! Rows of endpoints: a Service, its pods, and what its slices and Endpoints hold.

use std::sync::Arc;

use api::k8s::api::{
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
};
use serde_json::{Value, json};

use super::{View, reconcile};
use crate::Verb;

fn service(more: &[(&str, Value)]) -> Service {
    let mut service = json!({
        "metadata": {"name": "nginx", "namespace": "default", "uid": "svc", "labels": {"app": "nginx"}},
        "spec": {"clusterIP": "None", "selector": {"app": "nginx"},
            "ports": [{"name": "web", "port": 80, "protocol": "TCP"}]},
    });
    for (field, value) in more {
        service["spec"][*field] = value.clone();
    }
    serde_json::from_value(service).unwrap()
}

/// `web-N`: `ok`, `unready`, `term`, `done`, `addressless`, `stranger` …, joined by `-`.
fn pod(number: usize, state: &str) -> Arc<Pod> {
    let name = format!("web-{number}");
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{number}")},
        "spec": {"nodeName": "n1", "hostname": name, "subdomain": "nginx",
            "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": format!("10.244.{}.{}", number / 200, number % 200 + 1),
            "conditions": [{"type": "Ready", "status": "True"}]},
    });
    for word in state.split('-') {
        match word {
            "ok" => (),
            "unready" => pod["status"]["conditions"][0]["status"] = json!("False"),
            "term" => pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
            "done" => pod["status"]["phase"] = json!("Succeeded"),
            "addressless" => pod["status"]["podIP"] = Value::Null,
            "stranger" => pod["spec"]["subdomain"] = json!("else"),
            "v6" => pod["status"]["podIP"] = json!("fd00::1"),
            "portless" => pod["spec"]["containers"][0]["ports"] = json!([]),
            other => panic!("{other}"),
        }
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn view(service: Service, pods: &str) -> View {
    View {
        namespace: "default".to_owned(),
        name: "nginx".to_owned(),
        service: Some(Arc::new(service)),
        pods: pods.split_whitespace().enumerate().map(|(at, state)| pod(at, state)).collect(),
        zones: [("n1".to_owned(), "east".to_owned())].into(),
        ..View::default()
    }
}

/// Carries a plan out on its view.
fn apply(view: &mut View) -> String {
    let plan = reconcile(view);
    for action in &plan.actions {
        match &action.verb {
            Verb::Create(object) | Verb::Update { object, .. } => {
                let any = object.as_any();
                if let Some(slice) = any.downcast_ref::<EndpointSlice>() {
                    let mut slice = slice.clone();
                    slice.metadata.uid = slice.metadata.name.clone();
                    view.slices.retain(|old| old.metadata.name != slice.metadata.name);
                    view.slices.push(Arc::new(slice));
                } else if let Some(endpoints) = any.downcast_ref::<Endpoints>() {
                    view.endpoints = Some(Arc::new(endpoints.clone()));
                }
            }
            Verb::Delete { target, .. } => {
                view.slices.retain(|old| old.metadata.name.as_ref() != Some(&target.name));
            }
            other => panic!("{other:?}"),
        }
    }
    plan.to_string()
}

/// Each endpoint: hostname, address's last part, ready/serving/terminating.
fn endpoints(view: &View) -> String {
    let list = view.slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let words = list.map(|one| {
        let conditions = one.conditions.clone().unwrap();
        let flag = |flag: Option<bool>, letter: &'static str| {
            if flag == Some(true) { letter } else { "-" }
        };
        format!(
            "{}:{}{}{}",
            one.hostname.as_deref().unwrap_or("?"),
            flag(conditions.ready, "r"),
            flag(conditions.serving, "s"),
            flag(conditions.terminating, "t"),
        )
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn readiness_and_termination_of_endpoints() {
    let publishing = [("publishNotReadyAddresses", json!(true))];
    for (more, pods, wanted) in [
        (&[][..], "ok ok", "web-0:rs- web-1:rs-"),
        (&[], "ok unready", "web-0:rs- web-1:---"),
        (&[], "ok term", "web-0:rs- web-1:-st"),
        (&[], "unready-term", "web-0:--t"),
        (&[], "done addressless ok", "web-2:rs-"),
        // N4: the hostname only where the subdomain is this Service
        (&[], "stranger", "?:rs-"),
        (&publishing, "unready term unready-term", "web-0:r-- web-1:rst web-2:r-t"),
        (&[], "", ""),
    ] {
        let mut view = view(service(more), pods);
        apply(&mut view);
        assert_eq!(endpoints(&view), wanted, "{pods}");
        assert_eq!(apply(&mut view), "nothing to do", "{pods}");
        assert_eq!(view.slices.len(), 1, "one slice, even if it is empty");
    }
}

#[test]
fn a_slice_says_whose_it_is() {
    let mut view = view(service(&[]), "ok");
    apply(&mut view);
    let slice = serde_json::to_value(&*view.slices[0]).unwrap();
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"app": "nginx", "kubernetes.io/service-name": "nginx", "service.kubernetes.io/headless": "",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"})
    );
    assert_eq!(slice["metadata"]["ownerReferences"][0]["uid"], "svc");
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(slice["ports"], json!([{"name": "web", "port": 80, "protocol": "TCP"}]));
    let endpoint = &slice["endpoints"][0];
    assert_eq!((&endpoint["nodeName"], &endpoint["zone"]), (&json!("n1"), &json!("east")));
    assert_eq!(endpoint["targetRef"]["uid"], "uid-0");
}

#[test]
fn ports_are_found_by_name_pod_by_pod() {
    let named =
        [("ports", json!([{"name": "web", "port": 80, "targetPort": "http", "protocol": "TCP"}]))];
    let mut seen = view(service(&named), "ok portless");
    apply(&mut seen);
    let ports: Vec<Value> = seen.slices.iter().map(|slice| json!(slice.ports)).collect();
    assert_eq!(ports.len(), 2, "pods that serve other ports stand in another slice");
    assert!(ports.contains(&json!([{"name": "web", "port": 8080, "protocol": "TCP"}])));
    let number = [("ports", json!([{"name": "", "port": 80, "targetPort": 9000}]))];
    let mut view = view(service(&number), "ok");
    apply(&mut view);
    assert_eq!(view.slices[0].ports.as_ref().unwrap()[0].port, Some(9000));
}

#[test]
fn a_hundred_a_slice_and_endpoints_stay_where_they_are() {
    let many = vec!["ok"; 250].join(" ");
    let mut view = view(service(&[]), &many);
    apply(&mut view);
    let sizes = |view: &View| {
        let mut sizes: Vec<usize> =
            view.slices.iter().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&view), [50, 100, 100]);
    assert_eq!(apply(&mut view), "nothing to do");
    // One that becomes unready changes its own slice only.
    view.pods[120] = pod(120, "unready");
    let plan = reconcile(&view);
    let slices = plan.actions.iter().filter(|action| action.to_string().contains("EndpointSlice"));
    assert_eq!(slices.count(), 1);
    apply(&mut view);
    // One that goes leaves a gap that the next one fills.
    view.pods.remove(0);
    apply(&mut view);
    assert_eq!(sizes(&view), [50, 99, 100]);
    view.pods.push(pod(300, "ok"));
    apply(&mut view);
    assert_eq!(sizes(&view), [50, 100, 100]);
    // Slices that none is left in go, but for one.
    let last = view.pods.pop();
    view.pods.clear();
    view.pods.extend(last);
    apply(&mut view);
    assert_eq!(sizes(&view), [1]);
    view.pods.clear();
    apply(&mut view);
    assert_eq!(sizes(&view), [0]);
    assert_eq!(apply(&mut view), "nothing to do");
}

#[test]
fn families_stand_apart() {
    let mut view = view(service(&[]), "ok v6");
    apply(&mut view);
    let mut families: Vec<&str> =
        view.slices.iter().map(|slice| slice.address_type.as_str()).collect();
    families.sort_unstable();
    assert_eq!(families, ["IPv4", "IPv6"]);
}

#[test]
fn the_older_form() {
    let mut seen = view(service(&[]), "ok unready term");
    apply(&mut seen);
    let subsets =
        serde_json::to_value(seen.endpoints.as_deref().unwrap()).unwrap()["subsets"].take();
    assert_eq!(subsets.as_array().unwrap().len(), 1);
    assert_eq!(subsets[0]["addresses"].as_array().unwrap().len(), 1);
    assert_eq!(subsets[0]["addresses"][0]["hostname"], "web-0");
    assert_eq!(subsets[0]["notReadyAddresses"][0]["hostname"], "web-1");
    assert_eq!(subsets[0]["ports"][0]["port"], 80);
    // The Service gone, what was made for it goes.
    seen.service = None;
    seen.slices.clear();
    assert_eq!(reconcile(&seen).to_string(), "delete Endpoints nginx");
    Arc::make_mut(seen.endpoints.as_mut().unwrap()).metadata.labels = None;
    assert_eq!(reconcile(&seen).to_string(), "nothing to do", "a person made it");
}

#[test]
fn services_that_are_not_led_to_pods() {
    for more in
        [[("selector", Value::Null)], [("selector", json!({}))], [("type", json!("ExternalName"))]]
    {
        assert_eq!(reconcile(&view(service(&more), "ok")).to_string(), "nothing to do");
    }
}
