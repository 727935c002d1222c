//! Rows: a kubelet and a pod on real sockets, a server on a store in memory before them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use api::k8s::api::core::v1::Pod;
use bytes::Bytes;
use expect_test::{Expect, expect};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{MemoryJournal, Store};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{Nodes, forward::split_path, html::Page, kubelet_tls, pod, target};
use crate::{
    ApiServer, Lookup, Options,
    access::{CertificateSubject as Subject, Pki, server_config},
    query::Query,
    tests::house::{Doubles, House},
};

/// What the kubelet and pods of the rows saw.
type Seen = Arc<Mutex<Vec<String>>>;

/// A server with a way to the node `n1`, whose kubelet and pods are doubles in this test.
struct Site {
    house: House,
    seen: Seen,
    /// The API, in plain HTTP/1.1 with upgrades.
    api: SocketAddr,
    pod: SocketAddr,
    _folder: tempfile::TempDir,
}

async fn answer_as_kubelet(
    seen: Seen,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let named = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(|value| format!(" {name}={value}")).unwrap_or_default()
    };
    let extras =
        ["authorization", "upgrade", "x-forwarded-uri", "sec-websocket-protocol"].map(named);
    let line = format!("{} {}{}", request.method(), request.uri(), extras.concat());
    seen.lock().unwrap().push(line);
    let path = request.uri().path().to_owned();
    let mut response = Response::new(Full::from("one line\n"));
    if request.headers().contains_key("upgrade") && !path.contains("/refuse") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut four = [0; 4];
            stream.read_exact(&mut four).await.unwrap();
            stream.write_all(&four.map(|byte| byte.to_ascii_uppercase())).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.body_mut() = Full::default();
        let headers = response.headers_mut();
        headers.insert("connection", "Upgrade".parse().unwrap());
        headers.insert("upgrade", "SPDY/3.1".parse().unwrap());
    } else if path.contains("waiting") {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        let text = "container \"waiting\" in pod \"two\" is waiting to start: ContainerCreating";
        *response.body_mut() = Full::from(text);
    } else if path.contains("/gone") || path.contains("refuse") {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() = Full::from("container not found (\"refuse\")");
    } else if path.ends_with("/page") {
        *response.body_mut() = Full::from("<p><a href=\"/next\">next</a>");
        let kind = "text/html; charset=utf-8".parse().unwrap();
        response.headers_mut().insert("content-type", kind);
    } else if path.ends_with("/away") {
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert("location", "/there?a=b".parse().unwrap());
    }
    Ok(response)
}

async fn serve_double(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Seen) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, seen) = (tls.clone(), seen.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer_as_kubelet(seen.clone(), request));
            let http = hyper::server::conn::http1::Builder::new();
            match tls {
                None => http
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await
                    .unwrap_or_default(),
                Some(tls) => {
                    let stream = tls.accept(stream).await.unwrap();
                    assert!(stream.get_ref().1.peer_certificates().is_some());
                    let stream = TokioIo::new(stream);
                    http.serve_connection(stream, service)
                        .with_upgrades()
                        .await
                        .unwrap_or_default();
                }
            }
        });
    }
}

async fn serve_api(listener: TcpListener, server: ApiServer) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(server.clone());
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            let served = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
            served.await.unwrap_or_default();
        });
    }
}

impl Site {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        // Certificates are checked against the real clock.
        let now = now.max(crate::Ambient::now(&crate::System::new()));
        let pki = Pki::open(folder.path(), now).unwrap();
        let node = pki.issue(&Subject::server("system:node:n1", &["n1".to_owned()]), now).unwrap();
        let client = pki.issue(&Subject::kubelet_client(), now).unwrap();
        let tls = server_config(pki.ca_pem(), &node).unwrap();
        let tls = TlsAcceptor::from(Arc::new(tls));
        let seen = Seen::default();
        let kubelet = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = kubelet.local_addr().unwrap();
        tokio::spawn(serve_double(kubelet, Some(tls), seen.clone()));
        let pods = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pod = pods.local_addr().unwrap();
        tokio::spawn(serve_double(pods, None, seen.clone()));

        let store = Store::open(MemoryJournal::default(), store::Options::default()).unwrap();
        let config = kubelet_tls(pki.ca_pem(), &client.certificate_pem, &client.key_pem).unwrap();
        let doubles = Arc::new(Doubles::default());
        let mut options = Options::new(doubles.clone(), doubles.clone(), doubles);
        let nodes = Nodes::new(Lookup::new(store.clone()), config).near("n1", near);
        options.connect = Some(Arc::new(nodes));
        let house = House::with(store, options).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = listener.local_addr().unwrap();
        tokio::spawn(serve_api(listener, house.server.clone()));
        let site = Self { house, seen, api, pod, _folder: folder };
        site.fill().await;
        site
    }

    async fn fill(&self) {
        self.house.post("/api/v1/nodes", &json!({ "metadata": { "name": "n1" } })).await;
        for (name, node, containers) in [
            ("web-0", "n1", &["c"][..]),
            ("two", "n1", &["a", "waiting", "refuse"]),
            ("new", "", &["c"]),
            ("lost", "n9", &["c"]),
        ] {
            let containers: Vec<Value> = containers
                .iter()
                .map(
                    |name| json!({ "name": name, "image": "i", "ports": [{ "containerPort": 1 }] }),
                )
                .collect();
            let mut spec = json!({ "containers": containers });
            if !node.is_empty() {
                spec["nodeName"] = node.into();
            }
            let pod = json!({ "metadata": { "name": name }, "spec": spec });
            let made = self.house.post("/api/v1/namespaces/default/pods", &pod).await;
            assert_eq!(made.code, 201, "{}", made.text());
        }
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().drain(..).map(|line| line + "\n").collect()
    }

    /// Each path's answer, and what the other side saw.
    async fn check(&self, paths: &[&str], expected: Expect) {
        let mut out = String::new();
        for path in paths {
            let answer = self.house.send("GET", path, &[("authorization-x", "")], "").await;
            out += &format!("{}\n{}", answer.line(), self.seen());
        }
        expected.assert_eq(&out);
    }

    /// Sends a head over a socket, then `ping`; gives the first line and the last bytes.
    async fn upgrade(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.api).await.unwrap();
        let head = head.replace('\n', "\r\n");
        stream.write_all(format!("{head}\r\n\r\nping").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let first = answer.lines().next().unwrap_or_default();
        let last = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
        format!("{first} | {last}\n{}", self.seen())
    }
}

#[tokio::test]
async fn logs() {
    let site = Site::open().await;
    let base = "/api/v1/namespaces/default/pods";
    site.check(
        &[
            &format!("{base}/web-0/log?follow=true&tailLines=3&sinceSeconds=9"),
            &format!("{base}/two/log"),
            &format!("{base}/two/log?container=x"),
            &format!("{base}/two/log?container=waiting"),
            &format!("{base}/two/log?container=refuse"),
            &format!("{base}/web-0/log?tailLines=-1"),
            &format!("{base}/web-0/log?tailLines=x"),
            &format!("{base}/new/log"),
            &format!("{base}/lost/log"),
            &format!("{base}/none/log"),
            &format!("{base}/web-0/exec?command=sh"),
            &format!("{base}/new/exec?command=sh"),
        ],
        expect![[r#"
            200 one line
            GET /containerLogs/default/web-0/c?follow=true&sinceSeconds=9&tailLines=3
            400 BadRequest: a container name must be specified for pod two, choose one of: [a waiting refuse]
            400 BadRequest: container x is not valid for pod two
            400 BadRequest: container "waiting" in pod "two" is waiting to start: ContainerCreating
            GET /containerLogs/default/two/waiting
            404 NotFound: the server could not find the requested resource ( pods/log two)
            GET /containerLogs/default/two/refuse
            422 Invalid: PodLogOptions "web-0" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0
            400 BadRequest: strconv.ParseInt: parsing "x": invalid syntax
            204 
            404 NotFound: nodes "n9" not found
            404 NotFound: pods "none" not found
            400 BadRequest: Upgrade request required
            400 BadRequest: pod new does not have a host assigned
        "#]],
    )
    .await;
}

#[tokio::test]
async fn streams() {
    let site = Site::open().await;
    let words = "Host: x\nConnection: Upgrade\nUpgrade: SPDY/3.1";
    let base = "/api/v1/namespaces/default/pods";
    let mut out = String::new();
    for head in [
        format!(
            "POST {base}/web-0/exec?command=echo&command=a%20%26b&stdin=true&stdout=1&tty=false HTTP/1.1\n{words}"
        ),
        format!(
            "GET {base}/web-0/attach?stdout=true HTTP/1.1\n{words}\nSec-WebSocket-Protocol: v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0"
        ),
        format!("POST {base}/web-0/portforward HTTP/1.1\n{words}"),
        format!(
            "POST {base}/two/exec?container=refuse&command=x HTTP/1.1\nConnection: close, Upgrade\nHost: x\nUpgrade: SPDY/3.1"
        ),
    ] {
        out += &site.upgrade(&head).await;
    }
    expect![[r#"
        HTTP/1.1 101 Switching Protocols | PING
        POST /exec/default/web-0/c?input=1&output=1&command=echo&command=a%20%26b upgrade=SPDY/3.1
        HTTP/1.1 101 Switching Protocols | PING
        GET /attach/default/web-0/c?output=1 upgrade=SPDY/3.1 sec-websocket-protocol=v5.channel.k8s.io
        HTTP/1.1 101 Switching Protocols | PING
        POST /portForward/default/web-0 upgrade=SPDY/3.1
        HTTP/1.1 404 Not Found | container not found ("refuse")
        POST /exec/default/two/refuse?command=x upgrade=SPDY/3.1
    "#]].assert_eq(&out);
}

#[tokio::test]
async fn proxies() {
    let site = Site::open().await;
    let port = site.pod.port();
    let base = "/api/v1/namespaces/default";
    site.check(
        &[
            "/api/v1/nodes/n1/proxy?a=b",
            "/api/v1/nodes/n1/proxy/",
            "/api/v1/nodes/n1:10250/proxy/pods?a=b%20c",
            "/api/v1/nodes/n1/proxy/page",
            "/api/v1/nodes/n1/proxy/gone",
            "/api/v1/nodes/n2/proxy/gone",
            &format!("{base}/pods/web-0:{port}/proxy/page"),
            &format!("{base}/pods/a:b:c:d/proxy/page"),
            &format!("{base}/services/none/proxy/"),
        ],
        expect![[r#"
            301 
            200 one line
            GET / x-forwarded-uri=/api/v1/nodes/n1/proxy/
            200 one line
            GET /pods?a=b%20c x-forwarded-uri=/api/v1/nodes/n1:10250/proxy/pods
            200 <p><a href="/api/v1/nodes/n1/proxy/next">next</a>
            GET /page x-forwarded-uri=/api/v1/nodes/n1/proxy/page
            404 container not found ("refuse")
            GET /gone x-forwarded-uri=/api/v1/nodes/n1/proxy/gone
            404 NotFound: nodes "n2" not found
            400 BadRequest: address not allowed
            400 BadRequest: invalid pod request "a:b:c:d"
            404 NotFound: services "none" not found
        "#]],
    )
    .await;
}

#[test]
fn names() {
    let row = |id: &str| match target::split(id) {
        Some(named) => format!("{} {} {:?}", named.name, named.https, named.port),
        None => "invalid".to_owned(),
    };
    let rows = ["web", "web:80", "https:web:80", "http:web:", "ftp:web:80", ":80", "a:b:c:d", ""];
    let rows = rows.map(|id| format!("{id} -> {}\n", row(id))).concat();
    expect![[r#"
        web -> web false ""
        web:80 -> web false "80"
        https:web:80 -> web true "80"
        http:web: -> web false ""
        ftp:web:80 -> invalid
        :80 -> invalid
        a:b:c:d -> invalid
         -> invalid
    "#]]
    .assert_eq(&rows);
}

#[test]
fn paths() {
    let row = |path: &str, resource: &str| format!("{:?}", split_path(path, resource));
    assert_eq!(
        row("/api/v1/nodes/n1/proxy/a%2Fb/", "nodes"),
        r#"("/api/v1/nodes/n1/proxy", "/a%2Fb/")"#
    );
    assert_eq!(row("/api/v1/nodes/n1/proxy", "nodes"), r#"("/api/v1/nodes/n1/proxy", "")"#);
    assert_eq!(
        row("//api/v1/namespaces/d/pods//p/proxy/", "pods"),
        r#"("//api/v1/namespaces/d/pods//p/proxy", "/")"#
    );
    assert_eq!(row("", "pods"), r#"("", "")"#);
}

#[test]
fn links() {
    let page = Page {
        host: "10.0.0.1:80".to_owned(),
        asked: "api:6443".to_owned(),
        prefix: "/P/proxy".to_owned(),
    };
    let rows = [
        "/a",
        "a",
        "#x",
        "mailto:a@b",
        "http://10.0.0.1:80/a?b#c",
        "//10.0.0.1:80/a",
        "https://api:6443/a",
        "https://other/a",
        "/P/proxy/a",
        "http://",
        "",
    ];
    let rows =
        rows.map(|url| format!("{url} -> {}\n", page.link(url).unwrap_or_else(|| "=".into())));
    expect![[r#"
        /a -> /P/proxy/a
        a -> =
        #x -> =
        mailto:a@b -> =
        http://10.0.0.1:80/a?b#c -> /P/proxy/a?b#c
        //10.0.0.1:80/a -> /P/proxy/a
        https://api:6443/a -> https://api:6443/P/proxy/a
        https://other/a -> =
        /P/proxy/a -> /P/proxy/a
        http:// -> =
         -> =
    "#]]
    .assert_eq(&rows.concat());
}

#[test]
fn pages() {
    let page = Page { host: "h".to_owned(), asked: String::new(), prefix: "/P".to_owned() };
    for (html, rewritten) in [
        (r#"<a href="/x">/x</a>"#, r#"<a href="/P/x">/x</a>"#),
        ("<A HREF=/x class=y>", "<A HREF=/P/x class=y>"),
        ("<img alt='a>b' src = '/i.png'/>", "<img alt='a>b' src = '/P/i.png'/>"),
        ("<!-- <a href=\"/x\"> --><b title=/x>", "<!-- <a href=\"/x\"> --><b title=/x>"),
        (
            "<script src=/s>a < '<a href=/x>'</script><a href=/y>",
            "<script src=/P/s>a < '<a href=/x>'</script><a href=/P/y>",
        ),
        ("1 < 2 <", "1 < 2 <"),
        ("<a href", "<a href"),
        ("<a href=", "<a href="),
        ("<a href=\"/x", "<a href=\"/P/x"),
        ("<a ====/x href=/x>", "<a ====/x href=/P/x>"),
        ("<!--", "<!--"),
        ("<script>", "<script>"),
    ] {
        let out = page.rewrite(html.as_bytes());
        assert_eq!(String::from_utf8_lossy(&out), rewritten, "{html}");
    }
}

#[test]
fn containers() {
    let pod = |spec: Value| -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "web-0" }, "spec": spec })).unwrap()
    };
    let two = pod(json!({
        "initContainers": [{ "name": "i" }],
        "containers": [{ "name": "a" }, { "name": "b" }],
        "ephemeralContainers": [{ "name": "e" }],
    }));
    let row = |pod: &Pod, asked: &str| match pod::container(pod, asked) {
        Ok(name) => name,
        Err(error) => error.to_string(),
    };
    assert_eq!(
        row(&two, ""),
        "a container name must be specified for pod web-0, choose one of: [i a b e]"
    );
    assert_eq!(row(&two, "e"), "e");
    assert_eq!(row(&two, "x"), "container x is not valid for pod web-0");
    assert_eq!(row(&pod(json!({ "containers": [{ "name": "a" }] })), ""), "a");
    let none = pod(json!({ "containers": [] }));
    assert_eq!(row(&none, ""), "a container name must be specified for pod web-0");
    let query = Query::parse("command=a&command=%C3%A4+b&stdin=1&tty=true&stderr=false");
    let one = pod(json!({ "containers": [{ "name": "a" }] }));
    assert_eq!(
        pod::url(&one, "exec", &query).unwrap(),
        "/exec//web-0/a?input=1&tty=1&command=a&command=%C3%A4%20b"
    );
}
