//! The whole runtime: an image from the store, an address, a bridge.

use std::{net::IpAddr, path::PathBuf};

use host::{
    net::{Network, NetworkConfig},
    node::Node,
    runtime::{ContainerConfig, ContainerPhase, Mount, Resources, Runtime, RuntimeError},
};

use crate::world::{POD, World, options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_from_the_store_with_an_address() {
    let world = World::new().await;
    let instance = format!("{:08x}", std::process::id());
    let node = Node::open(options(world.dir.path())).await.unwrap();
    let error = node.run_pod(world.pod_config()).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Sandbox(_)), "{error}");
    let third = std::process::id() % 250;
    let config = NetworkConfig {
        instance: instance.clone(),
        pods: format!("10.233.{third}.0/24").parse().unwrap(),
        services: format!("10.234.{third}.0/24").parse().unwrap(),
        mtu: None,
    };
    node.connect(config.clone()).unwrap();
    let binary = PathBuf::from("/bin/busybox");
    let image = node
        .images()
        .from_binary("busybox:test", binary, vec![], std::time::UNIX_EPOCH)
        .await
        .unwrap();
    let pod = node.run_pod(world.pod_config()).await.unwrap();
    let address: IpAddr = format!("10.233.{third}.2").parse().unwrap();
    assert_eq!(pod.addresses, vec![address]);
    // The program is `/stead` in there; by that name busybox knows no applet.
    let mount = Mount {
        source: "/bin/busybox".into(),
        target: "/bin/busybox".to_owned(),
        read_only: true,
        propagation: None,
    };
    let container = ContainerConfig {
        name: "app".to_owned(),
        image: "busybox:test".to_owned(),
        image_id: image.id.clone(),
        command: Some(vec!["/bin/busybox".to_owned()]),
        mounts: vec![mount],
        args: Some(["ip", "-o", "-4", "addr", "show", "eth0"].map(ToOwned::to_owned).to_vec()),
        resources: Resources { oom_score_adj: Some(-997), ..Resources::default() },
        ..ContainerConfig::default()
    };
    let state = node.start_container(POD, container.clone()).await.unwrap();
    let ended = World::ended_in(node.keepers(), &state.id).await;
    assert!(matches!(ended.phase, ContainerPhase::Exited { exit_code: 0, .. }), "{ended:?}");
    assert!(
        world.log("app", 0).contains(&format!("10.233.{third}.2/32")),
        "{}",
        world.log("app", 0)
    );
    assert_eq!(node.image_users().get(&image.id).map(String::as_str), Some("default/web-0/app"));
    assert!(node.remove_image(&image.id).await.is_err(), "it is used");
    let mut absent = container;
    (absent.image_id, absent.attempt) = ("sha256:none".to_owned(), 1);
    assert!(matches!(node.start_container(POD, absent).await, Err(RuntimeError::NoImage(_))));
    // A new agent finds the address taken and the pod connected.
    let again = Node::open(options(world.dir.path())).await.unwrap();
    again.connect(config).unwrap();
    let mut second = world.pod_config();
    (second.uid, second.name) =
        ("22222222-2222-3333-4444-555555555555".to_owned(), "web-1".to_owned());
    let second = again.run_pod(second).await.unwrap();
    assert_ne!(second.addresses, vec![address]);
    for uid in [POD, &second.uid] {
        again.remove_pod(uid).await.unwrap();
    }
    Network::down(&instance).unwrap();
}
