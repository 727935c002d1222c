//! The server over real sockets, with and without an upstream resolver.

use std::{io::Write as _, net::SocketAddr, sync::Arc};

use expect_test::expect;
use hickory_proto::{op::Message, rr::RecordType};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use crate::{
    Dns, DnsConfig, serve,
    tests::{complete, config, fill, question, text},
};

/// An upstream resolver that answers everything with one address, or refuses to.
async fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((count, peer)) = socket.recv_from(&mut buffer).await {
            let mut answer = buffer[..count].to_vec();
            // A stranger's answer first: another number.
            answer[2] |= 0x80;
            let mut forged = answer.clone();
            forged[0] ^= 1;
            socket.send_to(&forged, peer).await.unwrap();
            answer[7] = 1;
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 192, 0, 2, 9]);
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    address
}

async fn ask_udp(server: SocketAddr, message: &Message) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&message.to_vec().unwrap(), server).await.unwrap();
    let mut buffer = [0; 4_096];
    let (count, _) = socket.recv_from(&mut buffer).await.unwrap();
    Message::from_vec(&buffer[..count]).unwrap()
}

async fn ask_tcp(server: SocketAddr, messages: &[Message]) -> Vec<Message> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    for message in messages {
        let bytes = message.to_vec().unwrap();
        stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    }
    let mut answers = Vec::new();
    for _ in messages {
        let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut bytes).await.unwrap();
        answers.push(Message::from_vec(&bytes).unwrap());
    }
    answers
}

#[tokio::test]
async fn over_sockets_and_upstream() {
    let upstream = upstream().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "nameserver {}", upstream.ip()).unwrap();
    let mut config = config(file.path());
    config.upstream_port = upstream.port();
    config.listen = vec!["127.0.0.2:0".parse().unwrap()];
    let dns = Dns::bind(&config).await.unwrap();
    let server = dns.addresses()[0];
    fill(&dns.shared.caches);
    complete(&dns.shared);
    let shared = Arc::clone(&dns.shared);
    let serving = tokio::spawn(serve::serve(shared, dns.udp, dns.tcp));

    let web = question("web.default.svc.cluster.local.", RecordType::A);
    let foreign = question("www.example.org.", RecordType::A);
    assert!(text(&ask_udp(server, &web).await).contains("10.96.0.7"));
    let answers = ask_tcp(server, &[web.clone(), web]).await;
    assert!(answers.iter().all(|answer| text(answer).contains("10.96.0.7")));
    let answer = ask_udp(server, &foreign).await;
    assert_eq!(answer.metadata.id, 4);
    expect![[r#"
        No Error
        www.example.org. 256 IN A 192.0.2.9
    "#]]
    .assert_eq(&text(&answer));
    let far = question("far.default.svc.cluster.local.", RecordType::A);
    expect![[r#"
        No Error aa
        far.default.svc.cluster.local. 5 IN CNAME www.example.org.
        www.example.org. 5 IN A 192.0.2.9
    "#]]
    .assert_eq(&text(&ask_udp(server, &far).await));

    // Without a resolver: SERVFAIL, while the cluster's names go on.
    std::fs::write(file.path(), "nameserver 127.0.0.2\n").unwrap();
    let later = std::time::SystemTime::UNIX_EPOCH;
    file.as_file().set_modified(later).unwrap();
    assert_eq!(text(&ask_udp(server, &foreign).await), "Server Failure\n");
    assert_eq!(text(&ask_tcp(server, std::slice::from_ref(&foreign)).await[0]), "Server Failure\n");
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_known_is_answered_in_the_order_of_the_questions() {
    let mut config = config("/x".as_ref());
    config.listen = vec!["127.0.0.2:0".parse().unwrap()];
    let dns = Dns::bind(&config).await.unwrap();
    let server = dns.addresses()[0];
    fill(&dns.shared.caches);
    complete(&dns.shared);
    let serving = tokio::spawn(serve::serve(Arc::clone(&dns.shared), dns.udp, dns.tcp));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..500 {
        let kinds = [RecordType::A, RecordType::AAAA];
        for kind in kinds {
            let message = question("web.default.svc.cluster.local.", kind);
            socket.send_to(&message.to_vec().unwrap(), server).await.unwrap();
        }
        for kind in kinds {
            let mut buffer = [0; 4_096];
            let (count, _) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = Message::from_vec(&buffer[..count]).unwrap();
            assert_eq!(answer.queries[0].query_type(), kind);
        }
    }
    serving.abort();
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = DnsConfig { listen: vec![address], ..config("/x".as_ref()) };
    let error = Dns::bind(&config).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen for DNS on {address}"));
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}
