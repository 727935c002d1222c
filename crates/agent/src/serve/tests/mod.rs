//! Rows: the kubelet API over a connection in memory, with a runtime that plays its programs.

mod logs;
mod streams;

use std::{
    collections::BTreeMap,
    net::TcpStream,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use host::{
    runtime::{
        ContainerConfig, ContainerPhase, ContainerState, Exec, ExecConfig, Image, ImageError,
        PodConfig, PodState, PullRequest, Runtime, RuntimeError, Streams, Usage,
    },
    stream::Stream,
};
use http_body_util::Full;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::{broadcast, mpsc, oneshot},
};

use super::{Authority, Kubelet, Pods, authorize::User};

/// A node with the pod `default/web-0`, whose container `c` runs.
pub(super) struct House {
    pub(super) folder: tempfile::TempDir,
    pub(super) fake: Arc<Fake>,
    kubelet: Kubelet,
    pub(super) sizes: mpsc::UnboundedReceiver<(u16, u16)>,
}

/// A runtime whose programs are played here.
pub(super) struct Fake {
    pub(super) pods: Mutex<Vec<PodState>>,
    pub(super) wakes: broadcast::Sender<String>,
    sizes: mpsc::UnboundedSender<(u16, u16)>,
}

struct FakePods(Arc<Pod>, PathBuf);

impl Pods for FakePods {
    fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let meta = &self.0.metadata;
        let same = meta.namespace.as_deref() == Some(namespace);
        (same && meta.name.as_deref() == Some(name)).then(|| self.0.clone())
    }

    fn pods(&self) -> Vec<Arc<Pod>> {
        vec![self.0.clone()]
    }

    fn log_folder(&self, _: &Pod) -> PathBuf {
        self.1.clone()
    }
}

pub(super) fn container(attempt: u32, phase: ContainerPhase) -> ContainerState {
    ContainerState {
        id: format!("c{attempt}"),
        name: "c".to_owned(),
        attempt,
        image: "i".to_owned(),
        image_id: String::new(),
        annotations: BTreeMap::new(),
        created_at: SystemTime::UNIX_EPOCH,
        phase,
    }
}

pub(super) fn running() -> ContainerPhase {
    ContainerPhase::Running { pid: 1, started_at: SystemTime::UNIX_EPOCH }
}

pub(super) fn exited() -> ContainerPhase {
    ContainerPhase::Exited {
        started_at: None,
        finished_at: SystemTime::UNIX_EPOCH,
        exit_code: 0,
        signal: None,
        oom_killed: false,
    }
}

impl House {
    pub(super) fn new() -> Self {
        Self::with(json!({}), vec![container(0, running())])
    }

    /// With this status of the container `c`, and these runs of it.
    pub(super) fn with(state: serde_json::Value, containers: Vec<ContainerState>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("c")).unwrap();
        let pod = json!({
            "metadata": { "namespace": "default", "name": "web-0", "uid": "u1" },
            "spec": { "containers": [{ "name": "c" }] },
            "status": { "containerStatuses": [{
                "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": state,
            }] },
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let state = PodState {
            uid: "u1".to_owned(),
            namespace: "default".to_owned(),
            name: "web-0".to_owned(),
            attempt: 0,
            alive: true,
            addresses: Vec::new(),
            created_at: SystemTime::UNIX_EPOCH,
            annotations: BTreeMap::new(),
            containers,
        };
        let (sender, sizes) = mpsc::unbounded_channel();
        let fake = Arc::new(Fake {
            pods: Mutex::new(vec![state]),
            wakes: broadcast::Sender::new(16),
            sizes: sender,
        });
        let client = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            let answer = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                "metadata": {}, "spec": {}, "status": { "allowed": true },
            });
            let body = Full::new(Bytes::from(answer.to_string()));
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        });
        let kubelet = Kubelet {
            runtime: fake.clone(),
            pods: Arc::new(FakePods(Arc::new(pod), folder.path().to_owned())),
            authority: Arc::new(Authority::new(kube::Client::new(client, "default"))),
            node: "n1".to_owned(),
            scratch: folder.path().join("scratch"),
        };
        Self { folder, fake, kubelet, sizes }
    }

    /// A connection of someone who may everything.
    pub(super) fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let kubelet = self.kubelet.clone();
        let user = User { name: "kube-apiserver".to_owned(), groups: Vec::new() };
        tokio::spawn(async move { kubelet.converse(far, Some(user)).await });
        near
    }

    /// Sends a request and reads the answer's head.
    pub(super) async fn ask(&self, head: &str) -> (String, DuplexStream) {
        let mut io = self.connect();
        io.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(io.read_u8().await.unwrap());
        }
        (String::from_utf8(answer).unwrap(), io)
    }

    /// The status and the whole body of an answer.
    pub(super) async fn get(&self, path: &str) -> (u16, String) {
        self.body(&format!("GET {path} HTTP/1.0\r\n\r\n")).await
    }

    pub(super) async fn body(&self, request: &str) -> (u16, String) {
        let (head, mut io) = self.ask(request).await;
        let mut body = String::new();
        io.read_to_string(&mut body).await.unwrap();
        (head[9..12].parse().unwrap(), body)
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join("c").join(name)
    }
}

fn no<T: Send + 'static>() -> BoxFuture<'static, Result<T, RuntimeError>> {
    async { Err(RuntimeError::NoPod("not played here".to_owned())) }.boxed()
}

impl Fake {
    /// `cat`: says its input again; then `exit CODE`.
    fn cat(config: &ExecConfig) -> Exec {
        let (input, stdin) = std::io::pipe().unwrap();
        let (stdout, output) = std::io::pipe().unwrap();
        let (stderr, errors) = std::io::pipe().unwrap();
        let (exit, exits) = oneshot::channel();
        let code = config.command.last().unwrap().parse().unwrap();
        let wants_errors = config.stderr;
        let open = |fd: OwnedFd| Stream::new(fd).unwrap();
        let (input, output, errors) =
            (open(input.into()), open(output.into()), open(errors.into()));
        tokio::spawn(async move {
            if wants_errors {
                errors.write_all(b"ready\n").await.unwrap();
            }
            let mut piece = [0; 1024];
            loop {
                let count = input.read(&mut piece).await.unwrap();
                if count == 0 {
                    break;
                }
                output.write_all(&piece[..count]).await.unwrap();
            }
            exit.send(code).unwrap();
        });
        let streams = Streams {
            stdin: Some(stdin.into()),
            stdout: Some(stdout.into()),
            stderr: Some(stderr.into()),
            terminal: None,
        };
        Exec { id: "e".to_owned(), streams, exit: exits }
    }
}

impl Runtime for Fake {
    fn run_pod(&self, _: PodConfig) -> BoxFuture<'_, Result<PodState, RuntimeError>> {
        no()
    }
    fn stop_pod(&self, _: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        no()
    }
    fn remove_pod(&self, _: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        no()
    }
    fn pods(&self) -> BoxFuture<'_, Result<Vec<PodState>, RuntimeError>> {
        async { Ok(self.pods.lock().unwrap().clone()) }.boxed()
    }
    fn start_container(
        &self,
        _: &str,
        _: ContainerConfig,
    ) -> BoxFuture<'_, Result<ContainerState, RuntimeError>> {
        no()
    }
    fn stop_container(
        &self,
        _: &str,
        _: &str,
        _: Option<i32>,
        _: u64,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        no()
    }
    fn remove_container(&self, _: &str, _: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        no()
    }
    fn exec(
        &self,
        _: &str,
        _: &str,
        config: ExecConfig,
    ) -> BoxFuture<'_, Result<Exec, RuntimeError>> {
        async move {
            if config.command[0] == "cat" {
                return Ok(Self::cat(&config));
            }
            Err(RuntimeError::Start(format!("{:?}: not found", config.command[0])))
        }
        .boxed()
    }
    fn attach(&self, _: &str, _: &str) -> BoxFuture<'_, Result<Streams, RuntimeError>> {
        async {
            let (stdout, mut output) = std::io::pipe().unwrap();
            std::io::Write::write_all(&mut output, b"from the container\n").unwrap();
            Ok(Streams { stdout: Some(stdout.into()), ..Streams::default() })
        }
        .boxed()
    }
    fn dial(&self, _: &str, port: u16) -> BoxFuture<'_, Result<OwnedFd, RuntimeError>> {
        async move {
            let connected = TcpStream::connect(("127.0.0.1", port));
            connected.map(OwnedFd::from).map_err(|source| RuntimeError::Dial { port, source })
        }
        .boxed()
    }
    fn resize(
        &self,
        _: &str,
        _: &str,
        _: Option<&str>,
        columns: u16,
        rows: u16,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.sizes.send((columns, rows)).unwrap();
        async { Ok(()) }.boxed()
    }
    fn usage(&self, _: &str) -> BoxFuture<'_, Result<Vec<Usage>, RuntimeError>> {
        async { Ok(vec![Usage { cpu_ns: 5, working_set_bytes: 6, ..Usage::default() }]) }.boxed()
    }
    fn wakes(&self) -> BoxStream<'static, String> {
        let wakes = self.wakes.subscribe();
        stream::unfold(wakes, |mut wakes| async { Some((wakes.recv().await.ok()?, wakes)) }).boxed()
    }
    fn pull(&self, _: PullRequest) -> BoxFuture<'_, Result<Image, ImageError>> {
        async { Err(ImageError::Absent("i".to_owned())) }.boxed()
    }
    fn image(&self, _: &str) -> BoxFuture<'_, Result<Option<Image>, ImageError>> {
        async { Ok(None) }.boxed()
    }
    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        async { Ok(vec![Image { id: "sha256:1".to_owned(), ..Image::default() }]) }.boxed()
    }
    /// The archive's text is the image's name; its mode is seen, too.
    fn import(&self, file: PathBuf) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        use std::os::unix::fs::PermissionsExt as _;
        async move {
            let text = std::fs::read_to_string(&file).unwrap();
            if text == "broken" {
                return Err(ImageError::Archive { file: "a".into(), why: "no image".to_owned() });
            }
            let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            Ok(vec![Image { tags: vec![text, format!("{mode:o}")], ..Image::default() }])
        }
        .boxed()
    }
    fn remove_image(&self, reference: &str) -> BoxFuture<'_, Result<(), ImageError>> {
        let error = match reference {
            "absent" => Some(ImageError::Absent("absent".to_owned())),
            "used" => Some(ImageError::InUse { reference: "used".into(), user: "web-0".into() }),
            _ => None,
        };
        async move { error.map_or(Ok(()), Err) }.boxed()
    }
}

#[tokio::test]
async fn images() {
    let house = House::new();
    let check = async |request: &str, expected: (u16, &str)| {
        let (code, body) = house.body(request).await;
        assert_eq!((code, body.as_str()), expected, "{request}");
    };
    let path = "/stead/v1/images";
    let listed = r#"[{"id":"sha256:1","tags":[],"digests":[],"sizeBytes":0}]"#;
    check(&format!("GET {path} HTTP/1.0\r\n\r\n"), (200, listed)).await;
    let post = |body: &str| {
        format!("POST {path} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let added = r#"[{"id":"","tags":["name:1","600"],"digests":[],"sizeBytes":0}]"#;
    check(&post("name:1"), (200, added)).await;
    check(&post("broken"), (400, "no image")).await;
    let left = std::fs::read_dir(house.folder.path().join("scratch")).unwrap().count();
    assert_eq!(left, 0);
    let delete = |name: &str| format!("DELETE {path}?name={name} HTTP/1.0\r\n\r\n");
    check(&delete("absent"), (404, "image absent is not here")).await;
    check(&delete("used"), (409, "image used is used by web-0")).await;
    check(&delete("i"), (200, "")).await;
}

#[tokio::test]
async fn figures() {
    let house = House::new();
    let (code, body) = house.get("/pods").await;
    assert_eq!(code, 200);
    assert!(body.starts_with(r#"{"apiVersion":"v1","kind":"PodList","items":[{"#), "{body}");
    let (_, body) = house.get("/metrics/resource").await;
    let sample = "pod_memory_working_set_bytes{namespace=\"default\",pod=\"web-0\"} 6\n";
    assert!(body.contains(sample), "{body}");
    let (_, body) = house.get("/stats/summary").await;
    assert!(body.contains(r#""podRef":{"name":"web-0""#), "{body}");
    assert_eq!(house.get("/metrics/other").await.0, 404);
}
