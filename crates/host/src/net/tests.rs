//! Networks made for real, each test in a network namespace of its own.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
};

use nix::sched::{CloneFlags, setns, unshare};

use super::{Network, NetworkConfig, NetworkError, bridge_name, link, open_route};

/// A fresh namespace that lives as long as this descriptor; the calling thread stays where it is.
fn new_namespace() -> OwnedFd {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        open_own()
    })
    .join()
    .unwrap()
}

fn open_own() -> OwnedFd {
    std::fs::File::open("/proc/thread-self/ns/net").unwrap().into()
}

fn within<T: Send + 'static>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = namespace.try_clone().unwrap();
    std::thread::spawn(move || {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
    .join()
    .unwrap()
}

fn config() -> NetworkConfig {
    NetworkConfig {
        instance: "0123abcd".to_owned(),
        pods: "10.244.0.0/24".parse().unwrap(),
        services: "10.96.0.0/12".parse().unwrap(),
        mtu: None,
    }
}

#[test]
fn pods_reach_the_node_and_each_other() {
    let node = new_namespace();
    let network = within(&node, || Network::up(config()).unwrap());
    assert_eq!(
        (network.bridge(), network.gateway()),
        ("stead-0123abcd", Ipv4Addr::new(10, 244, 0, 1))
    );
    let pods: Vec<OwnedFd> = (0..2).map(|_| new_namespace()).collect();
    for (at, pod) in pods.iter().enumerate() {
        let (network, pod) = (network.clone(), pod.try_clone().unwrap());
        let address = Ipv4Addr::new(10, 244, 0, 2 + u8::try_from(at).unwrap());
        within(&node, move || {
            network.attach(pod.as_fd(), &format!("uid-{at}"), address).unwrap();
            // A second time changes nothing.
            network.attach(pod.as_fd(), &format!("uid-{at}"), address).unwrap();
        });
    }
    let listener = within(&pods[1], || TcpListener::bind("10.244.0.3:8080").unwrap());
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            listener.accept().unwrap().0.write_all(b"hello").unwrap();
        }
    });
    let ask = || {
        let mut text = String::new();
        TcpStream::connect("10.244.0.3:8080").unwrap().read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(within(&pods[0], ask), "hello");
    assert_eq!(within(&node, ask), "hello");
    server.join().unwrap();

    // A new namespace of the same pod takes the link over.
    let again = new_namespace();
    let (network, fd) = (network.clone(), again.try_clone().unwrap());
    let took =
        within(&node, move || network.attach(fd.as_fd(), "uid-1", Ipv4Addr::new(10, 244, 0, 3)));
    took.unwrap();
    within(&node, || {
        // Up again finds everything; down leaves nothing.
        Network::up(config()).unwrap();
        Network::down(&config().instance).unwrap();
        let left = link::links(&mut open_route().unwrap()).unwrap();
        assert_eq!(left.iter().map(|link| link.name.as_str()).collect::<Vec<_>>(), ["lo"]);
    });
}

#[test]
fn clashes_are_found_before_anything_is_made() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut NetworkConfig) + Send + 'static, wanted: &str) {
        let found = within(&new_namespace(), move || {
            Network::up(config()).unwrap();
            let mut second = NetworkConfig {
                instance: "4567cdef".to_owned(),
                pods: "10.245.0.0/24".parse().unwrap(),
                ..config()
            };
            change(&mut second);
            let result = Network::up(second).map(|network| network.bridge().to_owned());
            let links = link::links(&mut open_route().unwrap()).unwrap();
            let made = links.iter().any(|link| link.name == bridge_name("4567cdef"));
            assert_eq!(made, result.is_ok());
            result.unwrap_or_else(|error| error.to_string())
        });
        assert_eq!(found, wanted);
    }
    check(|_| {}, "stead-4567cdef");
    check(
        |second| second.pods = "10.244.0.128/25".parse().unwrap(),
        "pod addresses 10.244.0.128/25 overlaps the route 10.244.0.0/24 of link stead-0123abcd: choose another with --pod-cidr",
    );
    check(
        |second| second.pods = "10.97.0.0/24".parse().unwrap(),
        "pod addresses 10.97.0.0/24 overlaps the Service addresses 10.96.0.0/12: choose another with --pod-cidr",
    );
    check(
        |second| second.instance = config().instance,
        "link stead-0123abcd exists and was not made by this instance: remove it, or choose another --name",
    );
    check(
        |second| second.pods = "10.245.0.0/31".parse().unwrap(),
        "no free pod address in 10.245.0.0/31",
    );
}

#[test]
fn a_foreign_route_is_named() {
    let text = within(&new_namespace(), || {
        let mut socket = open_route().unwrap();
        socket.ask(vec![link::new_bridge("foreign", [2, 0, 0, 0, 0, 1], 1500)]).unwrap();
        let index = link::index_of(&mut socket, "foreign").unwrap();
        let block = "10.0.0.1/8".parse().unwrap();
        socket.ask(vec![link::new_address("test", index, block)]).unwrap();
        let error = Network::up(config()).unwrap_err();
        assert!(matches!(error, NetworkError::Overlap { .. }));
        error.to_string()
    });
    assert_eq!(
        text,
        "pod addresses 10.244.0.0/24 overlaps the route 10.0.0.0/8 of link foreign: choose another with --pod-cidr"
    );
}

#[test]
fn loopback_alone() {
    let pod = new_namespace();
    Network::loopback(pod.as_fd()).unwrap();
    within(&pod, || drop(TcpListener::bind("127.0.0.1:0").unwrap()));
}
