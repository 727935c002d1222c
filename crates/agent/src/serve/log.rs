//! `kubectl logs`: the file that the keeper writes, read back line by line.

use std::{
    io::{self, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use futures::StreamExt as _;
use host::{
    runtime::{ContainerPhase, ContainerState, Runtime},
    stream::FolderWatch,
};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{Response, body::Frame};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    sync::mpsc,
};

use super::{
    Body, Kubelet,
    answer::{Refusal, refuse},
    remote::QUEUE_MAX,
    route::LogAsked,
};
use crate::Clock;

/// More than the files of one log that the keeper keeps.
const FILES_MAX: u32 = 16;
/// Bytes read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// One line of CRI's log format: time, stream, `F` or `P` (part of a line), text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line<'a> {
    at: &'a str,
    stream: &'a str,
    partial: bool,
    text: &'a [u8],
}

/// Streams a log. What cannot be found is told in upstream's words.
pub(crate) async fn answer(kubelet: &Kubelet, asked: LogAsked) -> Result<Response<Body>, Refusal> {
    let (pod, state) = kubelet.find(&asked.of).await?;
    let (name, container) = (&asked.of.pod, &asked.container);
    if !has_container(&pod, container) {
        return Err(refuse(404, format!("container {container:?} not found in pod {name:?}\n")));
    }
    let none = Vec::new();
    let runs = state.as_ref().map_or(&none, |state| &state.containers);
    let run = choose(&pod, runs, &asked).map_err(|why| refuse(400, why))?;
    let folder = kubelet.pods.log_folder(&pod).join(container);
    let file = folder.join(format!("{}.log", run.attempt));
    let running = !matches!(run.phase, ContainerPhase::Exited { .. });
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let reader = Reader {
        runtime: kubelet.runtime.clone(),
        since: since(&asked),
        left: asked.limit_bytes,
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        id: running.then(|| run.id.clone()),
        asked,
        path: file,
        sender,
        whole: true,
    };
    // Watches begin before the first read, so that nothing falls in between.
    let opened = FolderWatch::new(&folder)
        .and_then(|watch| Ok((watch, File::from_std(std::fs::File::open(&reader.path)?))));
    let (watch, file) = opened.map_err(|error| {
        let path = reader.path.display();
        refuse(500, format!("failed to try resolving symlinks in path {path:?}: {error}"))
    })?;
    tokio::spawn(async move {
        let failed = reader.sender.clone();
        if let Err(error) = reader.run(watch, file).await {
            tracing::debug!(%error, "a log was not read to its end");
            // A client that has gone does not hear it.
            drop(failed.send(Err(error)).await);
        }
    });
    let pieces = tokio_stream(receiver).map(|piece| piece.map(Frame::data));
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    let kind = http::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    Ok(response)
}

fn tokio_stream(
    receiver: mpsc::Receiver<io::Result<Bytes>>,
) -> impl futures::Stream<Item = io::Result<Bytes>> {
    futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    })
}

fn has_container(pod: &Pod, name: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|one| one.name == name)
        || spec.ephemeral_containers.iter().flatten().any(|one| one.name == name)
}

fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    lists.into_iter().flatten().flatten().find(|one| one.name == name)
}

/// Which run of the container is asked for, or why there is none.
///
/// Source: kubelet v1.36 `kubelet_pods.go`, `validateContainerLogStatus`.
fn choose<'a>(
    pod: &Pod,
    runs: &'a [ContainerState],
    asked: &LogAsked,
) -> Result<&'a ContainerState, String> {
    let (name, pod_name) = (&asked.container, &asked.of.pod);
    let mut runs: Vec<_> = runs.iter().filter(|one| one.name == *name).collect();
    runs.sort_by_key(|one| one.attempt);
    let state = status(pod, name).and_then(|status| status.state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref());
    if asked.previous {
        let last = runs.pop();
        // One that ended and waits to be started again is itself the one before the next.
        let ended = last
            .filter(|one| waiting.is_some() && matches!(one.phase, ContainerPhase::Exited { .. }));
        let found = ended.or_else(|| runs.pop());
        return found.ok_or_else(|| {
            format!("previous terminated container {name:?} in pod {pod_name:?} not found")
        });
    }
    if let Some(last) = runs.pop() {
        return Ok(last);
    }
    if state.is_some_and(|state| state.terminated.is_some()) {
        return Err(format!("container {name:?} in pod {pod_name:?} is terminated"));
    }
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    let reason = match reason.unwrap_or("ContainerCreating") {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        other => other,
    };
    Err(format!("container {name:?} in pod {pod_name:?} is waiting to start: {reason}"))
}

fn since(asked: &LogAsked) -> Option<Timestamp> {
    let ago = asked.since_s.map(SignedDuration::from_secs);
    ago.and_then(|ago| Clock::system().now().checked_sub(ago).ok()).or(asked.since_time)
}

struct Reader {
    runtime: Arc<dyn Runtime>,
    asked: LogAsked,
    since: Option<Timestamp>,
    /// Bytes that may still be sent.
    left: Option<u64>,
    uid: String,
    /// While the container may write.
    id: Option<String>,
    path: PathBuf,
    sender: mpsc::Sender<io::Result<Bytes>>,
    /// The last piece sent ended a line.
    whole: bool,
}

impl Reader {
    async fn run(mut self, watch: FolderWatch, mut file: File) -> io::Result<()> {
        let mut wakes = self.runtime.wakes();
        if let Some(lines) = self.asked.tail_lines {
            let start = tail(&mut file, lines).await?;
            file.seek(SeekFrom::Start(start)).await?;
        }
        let mut rest = Vec::new();
        loop {
            // Whether it runs is asked before the read: what it wrote last is then read.
            let running = self.asked.follow && self.running().await;
            if !self.drain(&mut file, &mut rest).await? {
                return Ok(());
            }
            if let Some(next) = self.next(&mut file).await? {
                // What was written between the last read and the rename.
                if !self.drain(&mut file, &mut rest).await? {
                    return Ok(());
                }
                file = next;
                continue;
            }
            if !running {
                return Ok(());
            }
            tokio::select! {
                changed = watch.changed() => changed?,
                Some(_) = wakes.next() => (),
                () = self.sender.closed() => return Ok(()),
            }
        }
    }

    async fn running(&self) -> bool {
        let Some(id) = &self.id else { return false };
        let Ok(states) = self.runtime.pods().await else { return false };
        let pod = states.iter().find(|state| state.uid == self.uid);
        let container = pod.and_then(|pod| pod.containers.iter().find(|one| one.id == *id));
        container.is_some_and(|one| !matches!(one.phase, ContainerPhase::Exited { .. }))
    }

    /// The file that follows this one, which was moved aside and is read to its end.
    async fn next(&self, file: &mut File) -> io::Result<Option<File>> {
        let opened = file.metadata().await?;
        if file.stream_position().await? < opened.len() {
            return Ok(None);
        }
        let named = |number: u32| match number {
            0 => self.path.clone(),
            number => PathBuf::from(format!("{}.{number}", self.path.display())),
        };
        // `0.log` was renamed `0.log.1`, then `0.log.2`, and so on: the next is one below.
        let mut next = None;
        for number in 0..FILES_MAX {
            let Ok(there) = tokio::fs::metadata(named(number)).await else { break };
            if there.ino() == opened.ino() {
                break;
            }
            next = Some(named(number));
        }
        match next {
            Some(path) => match File::open(path).await {
                // Renamed again just now: the folder changed, and this is asked again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                opened => opened.map(Some),
            },
            None => Ok(None),
        }
    }

    /// Sends what the file has; `false` once nobody listens or the limit is reached.
    async fn drain(&mut self, file: &mut File, rest: &mut Vec<u8>) -> io::Result<bool> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = file.read(&mut piece).await?;
            if count == 0 {
                return Ok(true);
            }
            rest.extend_from_slice(&piece[..count]);
            let mut out = Vec::new();
            let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in rest[..end].split_inclusive(|byte| *byte == b'\n') {
                if let Some(line) = parse(line) {
                    self.write(line, &mut out);
                }
            }
            rest.drain(..end);
            if let Some(left) = &mut self.left {
                out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= out.len() as u64;
            }
            if !out.is_empty() && self.sender.send(Ok(out.into())).await.is_err() {
                return Ok(false);
            }
            if self.left == Some(0) {
                return Ok(false);
            }
        }
    }

    fn write(&mut self, line: Line<'_>, out: &mut Vec<u8>) {
        if self.asked.stream.as_deref().is_some_and(|only| !only.eq_ignore_ascii_case(line.stream))
        {
            return;
        }
        if let Some(since) = self.since
            && line.at.parse::<Timestamp>().is_ok_and(|at| at < since)
        {
            return;
        }
        if self.asked.timestamps && self.whole {
            out.extend_from_slice(line.at.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        self.whole = !line.partial;
        if self.whole {
            out.push(b'\n');
        }
    }
}

/// Reads a line of the log; `None` for what is none.
fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let at = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tag = parts.next()?;
    let text = parts.next().unwrap_or_default();
    Some(Line { at, stream, partial: tag.starts_with(b"P"), text })
}

/// Where the last `lines` lines begin.
async fn tail(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut position = file.metadata().await?.len();
    let end = position;
    let mut wanted = lines;
    let mut piece = vec![0; PIECE_BYTES];
    if lines == 0 {
        return Ok(end);
    }
    while position > 0 {
        let length = position.min(PIECE_BYTES as u64);
        let start = position - length;
        let buffer = &mut piece[..usize::try_from(length).unwrap_or(PIECE_BYTES)];
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(buffer).await?;
        for (offset, byte) in buffer.iter().enumerate().rev() {
            let at = start + offset as u64;
            if *byte == b'\n' && at + 1 < end {
                wanted -= 1;
                if wanted == 0 {
                    return Ok(at + 1);
                }
            }
        }
        position = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = parse(b"2026-11-20T11:00:00.123456789Z stderr P half a line\n").unwrap();
        assert_eq!((line.stream, line.partial, line.text), ("stderr", true, &b"half a line"[..]));
        let empty = parse(b"2026-11-20T11:00:00Z stdout F \n").unwrap();
        assert_eq!((empty.partial, empty.text), (false, &b""[..]));
        assert_eq!(parse(b"torn"), None);
    }

    #[tokio::test]
    async fn the_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let text: String = (0..10_000).map(|n| format!("T stdout F line {n}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        for (lines, first) in [(1, "T stdout F line 9999\n"), (9_999, "T stdout F line 1\n")] {
            let mut file = File::open(&path).await.unwrap();
            let start = usize::try_from(tail(&mut file, lines).await.unwrap()).unwrap();
            assert!(text[start..].starts_with(first), "{lines}");
        }
        let mut file = File::open(&path).await.unwrap();
        assert_eq!(tail(&mut file, 20_000).await.unwrap(), 0);
        assert_eq!(tail(&mut file, 0).await.unwrap(), text.len() as u64);
    }
}
