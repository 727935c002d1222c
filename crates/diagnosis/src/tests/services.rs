//! Services: nobody selected, nobody ready, nobody listening.

use expect_test::expect;
use serde_json::{Value, json};

use super::world::{World, waits};

fn service(name: &str, spec: Value) -> Value {
    json!({"kind": "Service", "metadata": {"name": name}, "spec": spec})
}

fn slice(name: &str, ready: &[bool]) -> Value {
    let endpoints: Vec<Value> = ready
        .iter()
        .map(|up| json!({"addresses": ["10.0.0.1"], "conditions": {"ready": up}}))
        .collect();
    json!({"kind": "EndpointSlice", "metadata": {"name": format!("{name}-x"),
        "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4", "endpoints": endpoints})
}

fn up() -> World {
    World::new().set(2, |_| ()).pod("web-0", |_| ()).pod("web-1", |_| ())
}

#[test]
fn fine() {
    up().with(slice("nginx", &[true, true])).check("svc/nginx", expect!["service/nginx: nothing is wrong: 2 of 2 pods behind it are ready, 2 endpoints are served"]);
    let name = service("out", json!({"type": "ExternalName", "externalName": "example.com"}));
    up().with(name).check(
        "svc/out",
        expect![
            "service/out: nothing is wrong: it is a name for example.com, and has no endpoints"
        ],
    );
}

#[test]
fn selects_nothing() {
    let wrong = service("front", json!({"selector": {"app": "wep"}}));
    up().with(wrong.clone()).check("svc/front", expect![[r#"
        service/front is stuck: it has no endpoints
        why:  its selector app=wep matches no pod; near it are pods with app=web (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl set selector service front app=web"#]]);
    World::new().with(wrong).check("svc/front", expect![[r#"
        service/front is stuck: it has no endpoints
        why:  its selector app=wep matches no pod, and there is no pod like that (since 2026-01-01T00:50:00Z, 10m)
        cure: start pods with these labels, or change its selector"#]]);
    World::new().set(0, |_| ()).check("svc/nginx", expect![[r#"
        service/nginx is stuck: it has no endpoints
        why:  statefulset/web: no pod has the labels app=web: statefulset/web has none now (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl scale statefulset web --replicas=1"#]]);
    let none = service("manual", json!({}));
    World::new().with(none.clone()).check("svc/manual", expect![[r#"
        service/manual is stuck: it has no selector, and 0 endpoints are ready
        why:  it has no selector, so somebody must write its endpoints, and nobody has (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl set selector service manual KEY=VALUE, or write an EndpointSlice with the label kubernetes.io/service-name=manual"#]]);
    World::new().with(none).with(slice("manual", &[true])).check(
        "svc/manual",
        expect!["service/manual: nothing is wrong: it has no selector, and 1 endpoints are ready"],
    );
}

#[test]
fn pods_not_ready() {
    let broken = |pod: &mut Value| pod["status"] = waits("ErrImagePull", "not found");
    let world = World::new().set(2, |_| ()).pod("web-0", broken);
    world.check(
        "svc/nginx",
        expect![[r#"
            service/nginx is stuck: 0 of 1 pods behind it are ready
            why:  pod/web-0 > container/nginx > image/nginx:1: ErrImagePull: not found (since 2026-01-01T00:50:00Z, 10m)
            cure: name an image that exists: kubectl set image statefulset/web nginx=IMAGE"#]],
    );
    let half = World::new().set(2, |_| ()).pod("web-0", |_| ()).pod("web-1", broken);
    half.check(
        "svc/nginx",
        expect![[r#"
            service/nginx works: 1 of 2 pods behind it are ready
            why:  pod/web-1 > container/nginx > image/nginx:1: ErrImagePull: not found (since 2026-01-01T00:50:00Z, 10m)
            cure: name an image that exists: kubectl set image statefulset/web nginx=IMAGE"#]],
    );
}

#[test]
fn ports_and_addresses() {
    let port = service(
        "front",
        json!({"selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": "http"}]}),
    );
    up().with(port).with(slice("front", &[])).check("svc/front", expect![[r#"
        service/front is stuck: 2 of 2 pods behind it are ready
        why:  pod/web-0: port 80 goes to the port named "http", which no container of web-0 has (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl edit service front: targetPort; or name the container's port: kubectl edit statefulset web"#]]);
    up().check("svc/nginx", expect![[r#"
        service/nginx is stuck: 2 of 2 pods behind it are ready
        why:  its pods are ready, and its EndpointSlices do not name them (since 2026-01-01T00:50:00Z, 10m)
        cure: see that the cluster's endpoint slice controller runs: `stead up`, or kube-controller-manager"#]]);
    let balancer = service("front", json!({"selector": {"app": "web"}, "type": "LoadBalancer"}));
    up().with(balancer).with(slice("front", &[true])).check("svc/front", expect![[r#"
        service/front works: 2 of 2 pods behind it are ready
        why:  nobody has given it an external address: nothing in this cluster makes load balancers, or it has not answered (since 2026-01-01T00:50:00Z, 10m)
        cure: use NodePort or externalIPs: kubectl edit service front"#]]);
}
