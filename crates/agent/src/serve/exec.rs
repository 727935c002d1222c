//! Exec and attach: a container's streams on one side, a client on the other.

use std::sync::Arc;

use bytes::Bytes;
use host::{
    runtime::{ContainerPhase, ExecConfig, Runtime, Streams},
    stream::Stream,
};
use hyper::{Request, Response, body::Incoming};
use tokio::sync::{mpsc, oneshot};

use super::{
    Body, Kubelet,
    answer::{Refusal, refuse},
    remote::{self, Remote, Said, Told},
    route::ExecAsked,
    spdy, websocket,
};

/// Bytes of output that are sent at once.
const PIECE_BYTES: usize = 32 * 1024;

/// Switches the connection and runs the program, or attaches.
pub(crate) async fn answer(
    kubelet: &Kubelet,
    asked: ExecAsked,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    if asked.command.as_ref().is_some_and(Vec::is_empty) {
        return Err(refuse(400, "you must specify at least 1 command for the container"));
    }
    if !(asked.stdin || asked.stdout || asked.stderr) {
        return Err(refuse(400, "you must specify at least 1 of stdin, stdout, stderr"));
    }
    let (_, state) = kubelet.find(&asked.of).await?;
    let running = state.as_ref().and_then(|state| {
        let mut all = state.containers.iter();
        let container = all.find(|one| {
            one.name == asked.container && matches!(one.phase, ContainerPhase::Running { .. })
        })?;
        Some((state.uid.clone(), container.id.clone()))
    });
    let Some((pod, container)) = running else {
        let name = &asked.container;
        return Err(refuse(500, format!("container not found (\"{name}\")")));
    };
    let work = Work { runtime: kubelet.runtime.clone(), pod, container, asked: asked.clone() };
    if websocket::asked(&request) {
        return websocket::exec(request, move |remote| work.run(remote));
    }
    spdy::exec(request, asked, move |remote| work.run(remote))
}

/// One exec or attach, to be done once a client is connected.
struct Work {
    runtime: Arc<dyn Runtime>,
    pod: String,
    container: String,
    asked: ExecAsked,
}

impl Work {
    async fn run(self, remote: Remote) {
        let tell = remote.tell.clone();
        let end = match self.asked.command.clone() {
            Some(command) => self.program(command, remote).await,
            None => self.attach(remote).await,
        };
        // A client that has gone needs no word.
        drop(tell.send(Told::Ended(end)).await);
    }

    async fn program(&self, command: Vec<String>, remote: Remote) -> Bytes {
        let config = ExecConfig {
            command,
            tty: self.asked.tty,
            stdin: self.asked.stdin,
            stdout: self.asked.stdout,
            stderr: self.asked.stderr,
        };
        let started = self.runtime.exec(&self.pod, &self.container, config).await;
        let exec = match started {
            Ok(exec) => exec,
            Err(error) => {
                return remote::failed(&format!("error executing command in container: {error}"));
            }
        };
        self.carry(exec.streams, Some((exec.id, exec.exit)), remote).await
    }

    async fn attach(&self, remote: Remote) -> Bytes {
        match self.runtime.attach(&self.pod, &self.container).await {
            Ok(streams) => self.carry(streams, None, remote).await,
            Err(error) => remote::failed(&error.to_string()),
        }
    }

    /// Carries bytes until the output has ended and, for an exec, its exit code is there.
    async fn carry(
        &self,
        streams: Streams,
        exec: Option<(String, oneshot::Receiver<i32>)>,
        remote: Remote,
    ) -> Bytes {
        let (exec, exit) = exec.unzip();
        let (input, outputs) = match ends(streams, &self.asked) {
            Ok(ends) => ends,
            Err(error) => return remote::failed(&error.to_string()),
        };
        let Remote { says, tell } = remote;
        let silent = outputs.is_empty();
        let mut pumps = tokio::task::JoinSet::new();
        for (stream, kind) in outputs {
            pumps.spawn(pump(stream, kind, tell.clone()));
        }
        let end = async {
            while pumps.join_next().await.is_some() {}
            match exit {
                Some(exit) => match exit.await {
                    Ok(code) => remote::ended(code),
                    Err(_) => remote::failed("the pod's keeper ended"),
                },
                // The end of its output is the end of an attach; without, the client ends it.
                None if silent => std::future::pending().await,
                None => remote::ended(0),
            }
        };
        let heard = self.hear(says, input, exec);
        tokio::pin!(end, heard);
        let mut listening = true;
        loop {
            tokio::select! {
                end = &mut end => return end,
                () = &mut heard, if listening => listening = false,
                () = tell.closed() => return Bytes::new(),
            }
        }
    }

    /// Hands on what the client says, until it has said everything.
    async fn hear(
        &self,
        mut says: mpsc::Receiver<Said>,
        input: Option<Arc<Stream>>,
        exec: Option<String>,
    ) {
        let mut input = input;
        while let Some(said) = says.recv().await {
            match said {
                Said::Input(bytes) => {
                    let broken = match &input {
                        Some(stream) => stream.write_all(&bytes).await.is_err(),
                        None => false,
                    };
                    if broken {
                        input = None; // The program reads no more; what follows is let go.
                    }
                }
                Said::InputEnds => input = None,
                Said::Size { columns, rows } => {
                    let exec = exec.as_deref();
                    let sized =
                        self.runtime.resize(&self.pod, &self.container, exec, columns, rows).await;
                    if let Err(error) = sized {
                        tracing::debug!(%error, "a terminal was not resized");
                    }
                }
            }
        }
    }
}

/// Output of a container, and what its bytes are told as.
type Output = (Arc<Stream>, fn(Bytes) -> Told);
/// Input, and outputs.
type Ends = (Option<Arc<Stream>>, Vec<Output>);

fn ends(streams: Streams, asked: &ExecAsked) -> std::io::Result<Ends> {
    let open = |fd: Option<_>| fd.map(Stream::new).transpose().map(|stream| stream.map(Arc::new));
    if let Some(terminal) = open(streams.terminal)? {
        return Ok((Some(terminal.clone()), vec![(terminal, Told::Output)]));
    }
    let mut outputs: Vec<Output> = Vec::new();
    if let Some(stream) = open(streams.stdout)?.filter(|_| asked.stdout) {
        outputs.push((stream, Told::Output));
    }
    if let Some(stream) = open(streams.stderr)?.filter(|_| asked.stderr) {
        outputs.push((stream, Told::Error));
    }
    Ok((open(streams.stdin)?.filter(|_| asked.stdin), outputs))
}

async fn pump(stream: Arc<Stream>, kind: fn(Bytes) -> Told, tell: mpsc::Sender<Told>) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return,
            Ok(count) => {
                if tell.send(kind(Bytes::copy_from_slice(&piece[..count]))).await.is_err() {
                    return;
                }
            }
            Err(error) => return tracing::debug!(%error, "a stream of a container broke"),
        }
    }
}
