//! Rows of kube-dns: applied, the plan leaves nothing to do.

use std::sync::Arc;

use super::{View, reconcile};
use crate::Verb;

#[test]
fn made_once_then_kept() {
    let mut view = View {
        service: None,
        slice: None,
        cluster_ip: "10.96.0.10".parse().unwrap(),
        server: "10.244.0.1".parse().unwrap(),
        port: 5353,
    };
    let plan = reconcile(&view);
    assert_eq!(plan.to_string(), "create Service kube-dns");
    let Verb::Create(object) = &plan.actions[0].verb else { panic!("{plan}") };
    let mut service = object.to_value();
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.10");
    assert_eq!(service["spec"]["ports"][0]["port"], 53);
    assert!(service["spec"]["selector"].is_null(), "its slice is not made from pods");
    service["metadata"]["uid"] = "svc".into();
    view.service = Some(Arc::new(serde_json::from_value(service).unwrap()));
    let plan = reconcile(&view);
    assert_eq!(plan.to_string(), "create EndpointSlice kube-dns");
    let Verb::Create(object) = &plan.actions[0].verb else { panic!("{plan}") };
    let slice = object.to_value();
    assert_eq!(slice["endpoints"][0]["addresses"][0], "10.244.0.1");
    assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "kube-dns");
    assert_eq!(slice["metadata"]["ownerReferences"][0]["uid"], "svc");
    view.slice = Some(Arc::new(serde_json::from_value(slice).unwrap()));
    assert_eq!(reconcile(&view).to_string(), "nothing to do");
    view.server = "10.244.0.2".parse().unwrap();
    assert_eq!(reconcile(&view).to_string(), "update EndpointSlice kube-dns");
}
