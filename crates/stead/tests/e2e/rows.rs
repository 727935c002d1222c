//! What a person does and sees, as scripts under `rows/`: the verbs of kubectl, what is refused and
//! in which words, and the verbs of stead itself.

use std::{
    net::TcpListener,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt::IpFreebind,
};

use crate::{
    cluster::{Cluster, Turn, rows},
    transcripts::replay_file,
};

/// A port that rows ask for while something else has it.
const TAKEN: u16 = 7777;

fn replay(cluster: &Cluster, script: &str) {
    replay_file(cluster, &rows().join(script), &[]);
}

#[test]
fn the_verbs_of_kubectl() {
    let _turn = Turn::take();
    let cluster = Cluster::start("verbs", &[]);
    cluster.import(&["busybox.tar", "nginx.tar"]);
    replay(&cluster, "verbs.md");
}

#[test]
fn what_is_refused_and_in_which_words() {
    let _turn = Turn::take();
    let cluster = Cluster::start("refusals", &[]);
    replay(&cluster, "refusals.md");
}

#[test]
fn what_a_machine_lacks_is_said_and_nothing_is_left() {
    let _turn = Turn::take();
    let cluster = Cluster::new("machine", &[]);
    let tcp = TcpListener::bind(("127.0.0.1", TAKEN)).unwrap();
    let dns = dns_of_the_gateway();
    replay(&cluster, "lacks.md");
    drop((tcp, dns));
    replay(&cluster, "machine.md");
}

/// DNS on the gateway that the cluster is about to make.
fn dns_of_the_gateway() -> OwnedFd {
    let dns =
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&dns, IpFreebind, &true).unwrap();
    bind(dns.as_raw_fd(), &SockaddrIn::new(10, 244, 0, 1, 53)).unwrap();
    dns
}
