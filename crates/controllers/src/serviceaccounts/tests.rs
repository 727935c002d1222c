//! Rows of what every namespace has.

use std::sync::Arc;

use serde_json::json;

use super::{View, reconcile};
use crate::Verb;

fn view(deleting: bool) -> View {
    let deleted = deleting.then_some("2026-01-01T00:00:00Z");
    let namespace = json!({"metadata": {"name": "n", "deletionTimestamp": deleted}});
    View {
        namespace: Arc::new(serde_json::from_value(namespace).unwrap()),
        default_account: None,
        root_ca: None,
        ca_pem: "PEM".into(),
    }
}

#[test]
fn a_namespace_gets_its_account_and_certificate() {
    let mut seen = view(false);
    let plan = reconcile(&seen);
    assert_eq!(
        plan.to_string(),
        "create ServiceAccount default; create ConfigMap kube-root-ca.crt"
    );
    let made = |at: usize| match &plan.actions[at].verb {
        Verb::Create(object) => object.to_value(),
        other => panic!("{other:?}"),
    };
    assert_eq!(made(0)["metadata"]["namespace"], "n");
    assert_eq!(made(1)["data"], json!({"ca.crt": "PEM"}));
    seen.default_account = Some(Arc::new(serde_json::from_value(made(0)).unwrap()));
    seen.root_ca = Some(Arc::new(serde_json::from_value(made(1)).unwrap()));
    assert_eq!(reconcile(&seen).to_string(), "nothing to do");
    seen.ca_pem = "NEW".into();
    assert_eq!(reconcile(&seen).to_string(), "update ConfigMap kube-root-ca.crt");
    assert_eq!(reconcile(&view(true)).to_string(), "nothing to do");
}
