//! Rows: exec, attach and port-forward over WebSocket and SPDY, seen by a client.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    net::TcpListener,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use super::House;
use crate::serve::spdy::frame::{Decoder, Encoder, Frame, Headers};

async fn websocket(house: &House, path: &str, protocol: &str) -> WebSocketStream<DuplexStream> {
    let mut request = format!("ws://node{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    let (socket, response) = client_async(request, house.connect()).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
    socket
}

/// What each channel said until the server closes.
async fn channels(socket: &mut WebSocketStream<DuplexStream>) -> Vec<String> {
    let mut said = vec![String::new(); 4];
    while let Some(message) = socket.next().await {
        if let Message::Binary(bytes) = message.unwrap() {
            said[usize::from(bytes[0])].push_str(std::str::from_utf8(&bytes[1..]).unwrap());
        }
    }
    said
}

const SUCCESS: &str = r#"{"metadata":{},"status":"Success"}"#;

#[tokio::test]
async fn exec_over_websocket() {
    let mut house = House::new();
    let path = "/exec/default/web-0/c?command=cat&command=0&input=1&output=1&error=1";
    let mut socket = websocket(&house, path, "v5.channel.k8s.io").await;
    for message in [&b"\x04{\"Width\":80,\"Height\":24}"[..], b"\0hello ", b"\0world", b"\xff\0"] {
        socket.send(Message::Binary(Bytes::from_static(message))).await.unwrap();
    }
    let said = channels(&mut socket).await;
    assert_eq!(said, ["", "hello world", "ready\n", SUCCESS]);
    assert_eq!(house.sizes.recv().await, Some((80, 24)));

    // Without stdin, v4; the code of the program is in the Status.
    let path = "/exec/default/web-0/c?command=cat&command=3&output=1";
    let mut socket = websocket(&house, path, "v4.channel.k8s.io").await;
    let said = channels(&mut socket).await;
    let status: serde_json::Value = serde_json::from_str(&said[3]).unwrap();
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "3");
    assert_eq!(status["message"], "command terminated with non-zero exit code: exit status 3");

    let path = "/exec/default/web-0/c?command=nothing&output=1";
    let mut socket = websocket(&house, path, "v5.channel.k8s.io").await;
    let said = channels(&mut socket).await;
    let wanted =
        r#"Internal error occurred: error executing command in container: \"nothing\": not found"#;
    assert!(said[3].contains(wanted), "{said:?}");

    let path = "/attach/default/web-0/c?output=1";
    let mut socket = websocket(&house, path, "v5.channel.k8s.io").await;
    assert_eq!(channels(&mut socket).await, ["", "from the container\n", "", SUCCESS]);
}

#[tokio::test]
async fn a_program_without_output_hears_its_input() {
    let house = House::new();
    let path = "/exec/default/web-0/c?command=cat&command=0&input=1";
    let mut socket = websocket(&house, path, "v5.channel.k8s.io").await;
    socket.send(Message::Binary(Bytes::from_static(b"\xff\0"))).await.unwrap();
    assert_eq!(channels(&mut socket).await, ["", "", "", SUCCESS]);
}

#[tokio::test]
async fn what_is_refused() {
    let house = House::new();
    for (path, headers, expected) in [
        (
            "/exec/default/web-0/c?output=1",
            "",
            (400, "you must specify at least 1 command for the container"),
        ),
        (
            "/exec/default/web-0/c?command=a",
            "",
            (400, "you must specify at least 1 of stdin, stdout, stderr"),
        ),
        ("/exec/default/web-0/d?command=a&output=1", "", (500, "container not found (\"d\")")),
        (
            "/exec/default/web-0/c?command=a&output=1",
            "",
            (400, "unable to upgrade: missing upgrade headers in request"),
        ),
        (
            "/exec/default/web-0/c?command=a&output=1",
            "connection: Upgrade\r\nupgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v9\r\n",
            (
                403,
                "unable to upgrade: unable to negotiate protocol: client supports [v9], server \
                 accepts [v4.channel.k8s.io]",
            ),
        ),
        ("/portForward/default/web-9", "", (404, "pod \"web-9\" not found")),
    ] {
        let (code, body) = house.body(&format!("POST {path} HTTP/1.0\r\n{headers}\r\n")).await;
        assert_eq!((code, body.as_str()), expected, "{path}");
    }
}

/// A client of SPDY, as client-go is one.
struct Spdy<I> {
    io: I,
    encoder: Encoder,
    decoder: Decoder,
    next: u32,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Spdy<I> {
    fn new(io: I) -> Self {
        Self { io, encoder: Encoder::new().unwrap(), decoder: Decoder::new(), next: 1 }
    }

    async fn send(&mut self, frame: Frame) {
        let mut bytes = Vec::new();
        self.encoder.put(&frame, &mut bytes).unwrap();
        self.io.write_all(&bytes).await.unwrap();
    }

    async fn open(&mut self, headers: &[(&str, &str)]) -> u32 {
        let id = self.next;
        self.next += 2;
        let headers: Headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.send(Frame::Open { id, fin: false, headers }).await;
        id
    }

    async fn say(&mut self, id: u32, text: &str, fin: bool) {
        self.send(Frame::Data { id, fin, bytes: Bytes::from(text.to_owned()) }).await;
    }

    async fn hear(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return Some(frame);
            }
            if self.io.read_buf(self.decoder.buffer()).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// What these streams say until each has ended.
    async fn hear_all<const N: usize>(&mut self, ids: [u32; N]) -> [String; N] {
        let mut said = [const { String::new() }; N];
        let mut open: Vec<u32> = ids.to_vec();
        while !open.is_empty() {
            match self.hear().await.expect("the connection has ended") {
                Frame::Data { id, fin, bytes } => {
                    let at = ids.iter().position(|one| *one == id).expect("a stream of ours");
                    said[at].push_str(std::str::from_utf8(&bytes).unwrap());
                    if fin {
                        open.retain(|one| *one != id);
                    }
                }
                Frame::Reset { id, .. } => open.retain(|one| *one != id),
                Frame::Reply { .. } | Frame::Ping(_) => (),
                other => panic!("{other:?}"),
            }
        }
        said
    }

    /// Says good-bye, and hears the server's.
    async fn close(mut self) {
        self.send(Frame::GoAway { last: 0, status: 0 }).await;
        while self.hear().await.is_some() {}
    }
}

async fn spdy(house: &House, path: &str, protocol: &str) -> Spdy<DuplexStream> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: n\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: {protocol}\r\nX-Stream-Protocol-Version: v1\r\n\r\n"
    );
    let (head, io) = house.ask(&head).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains(&format!("x-stream-protocol-version: {protocol}\r\n")), "{head}");
    Spdy::new(io)
}

#[tokio::test]
async fn exec_over_spdy() {
    let mut house = House::new();
    let path = "/exec/default/web-0/c?command=cat&command=0&input=1&output=1&tty=1";
    let mut client = spdy(&house, path, "v4.channel.k8s.io").await;
    client.send(Frame::Ping(1)).await;
    assert_eq!(client.hear().await, Some(Frame::Ping(1)));
    let mut ids = Vec::new();
    for kind in ["error", "stdin", "stdout", "resize"] {
        let id = client.open(&[("streamtype", kind)]).await;
        assert!(matches!(client.hear().await, Some(Frame::Reply { id: of, .. }) if of == id));
        ids.push(id);
    }
    client.say(ids[3], "{\"Width\":1,\"Height\":2}\n{\"Width\":3,", false).await;
    client.say(ids[3], "\"Height\":4}\n", false).await;
    client.say(ids[1], "hello ", false).await;
    client.say(ids[1], "world", true).await;
    let [error, _, output, _] = client.hear_all([ids[0], ids[1], ids[2], ids[3]]).await;
    assert_eq!((error.as_str(), output.as_str()), (SUCCESS, "hello world"));
    assert_eq!(house.sizes.recv().await, Some((1, 2)));
    assert_eq!(house.sizes.recv().await, Some((3, 4)));
    client.close().await;
}

/// Says what it hears in capitals, and good-bye once the other side has ended.
async fn shouter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            let answer = text.to_uppercase() + " BYE";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    port
}

async fn forwards<I: AsyncRead + AsyncWrite + Unpin>(mut client: Spdy<I>) {
    let port = shouter().await.to_string();
    // Two connections at once.
    let mut pairs = Vec::new();
    for request in ["0", "1"] {
        let headers =
            |kind| [("streamtype", kind), ("port", port.as_str()), ("requestid", request)];
        let error = client.open(&headers("error")).await;
        client.send(Frame::Data { id: error, fin: true, bytes: Bytes::new() }).await;
        pairs.push((error, client.open(&headers("data")).await));
    }
    for (_, data) in &pairs {
        client.say(*data, &format!("hello {data}"), true).await;
    }
    let said = client.hear_all([pairs[0].0, pairs[0].1, pairs[1].0, pairs[1].1]).await;
    let wanted = |data: u32| format!("HELLO {data} BYE");
    assert_eq!(said, [String::new(), wanted(pairs[0].1), String::new(), wanted(pairs[1].1)]);

    // A port that nobody listens on: taken, and let go again.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let free = free.to_string();
    let error = client.open(&[("streamtype", "error"), ("port", &free)]).await;
    let data = client.open(&[("streamtype", "data"), ("port", &free)]).await;
    let [error, _] = client.hear_all([error, data]).await;
    let wanted = format!(
        "error forwarding port {free} to pod u1, uid : failed to connect to localhost:{free} inside \
         namespace \"u1\", IPv4: dial tcp4 127.0.0.1:{free}: connect: connection refused"
    );
    assert_eq!(error, wanted);

    // What is neither is refused, and the connection lives on.
    let odd = client.open(&[("streamtype", "data")]).await;
    assert_eq!(client.hear().await, Some(Frame::Reset { id: odd, status: 3 }));
    client.close().await;
}

#[tokio::test]
async fn port_forward_over_spdy() {
    let house = House::new();
    forwards(spdy(&house, "/portForward/default/web-0", "portforward.k8s.io").await).await;
}

#[tokio::test]
async fn port_forward_over_websocket() {
    let house = House::new();
    let protocol = "SPDY/3.1+portforward.k8s.io";
    let socket = websocket(&house, "/portForward/default/web-0", protocol).await;
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (mut sink, mut source) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(far);
    tokio::spawn(async move {
        let mut piece = [0; 700];
        while let Ok(count @ 1..) = reader.read(&mut piece).await {
            sink.send(Message::Binary(Bytes::copy_from_slice(&piece[..count]))).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Some(Ok(Message::Binary(bytes))) = source.next().await {
            writer.write_all(&bytes).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    });
    forwards(Spdy::new(near)).await;
}

#[tokio::test(start_paused = true)]
async fn half_a_pair_is_let_go() {
    let house = House::new();
    let mut client = spdy(&house, "/portForward/default/web-0", "portforward.k8s.io").await;
    let error = client.open(&[("streamtype", "error"), ("port", "80"), ("requestid", "7")]).await;
    let [said] = client.hear_all([error]).await;
    assert_eq!(said, "(request=7) timed out waiting for streams");
    client.close().await;
}
