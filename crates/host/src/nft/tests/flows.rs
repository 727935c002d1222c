//! A client of UDP that goes on talking while its backend changes.

use super::*;

fn udp(fronts: &[Front], backends: &[&str]) -> Rule {
    Rule { protocol: Protocol::Udp, ..tcp(fronts, backends, None) }
}

#[test]
fn a_flow_follows_when_its_backend_goes() {
    let world = World::new();
    let mut firewall = within(&world.node, || Firewall::open(INSTANCE).unwrap());
    let front = [Front::Cluster(at("10.96.0.10:53"))];
    let mut lead = |backends: &[&str]| {
        let more = tcp(&[Front::Cluster(at("10.96.0.11:80"))], &[], None);
        firewall.apply(&ruleset([("d/dns/dns", udp(&front, backends)), ("d/x/x", more)])).unwrap();
    };
    lead(&[PODS[0]]);
    let client = within(&world.node, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect("10.96.0.10:53").unwrap();
        socket
    });
    let asked = || {
        client.send(b"?").unwrap();
        let mut buffer = [0; 9];
        let count = client.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    assert_eq!(asked(), "0");
    // Another backend beside it changes nothing for who talks already.
    lead(&PODS);
    assert_eq!(asked(), "0");
    lead(&[PODS[1]]);
    assert_eq!(asked(), "1");
    // A new agent, which does not know what the old one had set, does the same.
    let mut firewall = within(&world.node, || Firewall::open(INSTANCE).unwrap());
    firewall.apply(&ruleset([("d/dns/dns", udp(&front, &[PODS[0]]))])).unwrap();
    assert_eq!(asked(), "0");
}
