//! The small web program of the demo: it keeps one line of text in its volume and says who it is.
//!
//! `POST /` stores the body, `GET /` answers with the pod's name and the text; with `--peers` it
//! also lists the pods of its Service, as an SRV look-up gives them. It holds a lock in its volume
//! while it runs, so that a second copy of the same pod would be seen, and ends at SIGTERM.

use std::{
    convert::Infallible,
    fs::{self, File, OpenOptions},
    io::Write as _,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RData, RecordType},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, signal::unix::SignalKind};

/// The port of the contract.
const PORT: u16 = 8080;
/// Longest text that is kept.
const TEXT_MAX_BYTES: usize = 1 << 20;
/// How long a look-up of peers may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Who it is and where it keeps its text.
#[derive(Debug)]
struct Pet {
    name: String,
    folder: PathBuf,
    peers: bool,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// When the port or the folder cannot be used, or another copy runs on the same volume.
pub(crate) fn run(peers: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before all else: the first process of a container is deaf to a signal it does not ask for.
        let mut term = tokio::signal::unix::signal(SignalKind::terminate())?;
        let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
        let name = fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
        let folder = PathBuf::from("/var/data");
        let _lock = lock(&folder)?;
        let pet = Arc::new(Pet { name, folder, peers });
        let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], PORT))).await?;
        loop {
            tokio::select! {
                _ = term.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    let pet = pet.clone();
                    tokio::spawn(async move {
                        let service = service_fn(move |request| answer(pet.clone(), request));
                        let http = hyper::server::conn::http1::Builder::new();
                        // A client that breaks off is its own affair.
                        drop(http.serve_connection(TokioIo::new(stream), service).await);
                    });
                }
            }
        }
    })
}

/// Takes the volume for this process; a second copy leaves a trace in `violations` and ends.
fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder)?;
    let path = folder.join("kubia.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    if file.try_lock().is_err() {
        let mut trace =
            OpenOptions::new().create(true).append(true).open(folder.join("violations"))?;
        writeln!(trace, "a second copy started")?;
        trace.sync_all()?;
        bail!("{} is locked: another copy of this pod runs", path.display());
    }
    Ok(file)
}

async fn answer(
    pet: Arc<Pet>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = if request.method() == Method::POST {
        match Limited::new(request.into_body(), TEXT_MAX_BYTES).collect().await {
            Ok(body) => match store(&pet, &body.to_bytes()) {
                Ok(()) => (StatusCode::OK, format!("Data stored on pod {}\n", pet.name)),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")),
            },
            Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
        }
    } else {
        (StatusCode::OK, tell(&pet))
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    Ok(response)
}

/// Durable before it is acknowledged: written beside, synced, renamed.
fn store(pet: &Pet, text: &[u8]) -> Result<()> {
    let (path, beside) = (pet.folder.join("kubia.txt"), pet.folder.join("kubia.txt.new"));
    let mut file = File::create(&beside).context("the text was not stored")?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(&pet.folder)?.sync_all()?;
    Ok(())
}

fn tell(pet: &Pet) -> String {
    let stored = fs::read_to_string(pet.folder.join("kubia.txt"));
    let text = stored.unwrap_or_else(|_| "No data posted yet".to_owned());
    let mut answer = format!("You've hit {}\nData stored on this pod: {text}\n", pet.name);
    if pet.peers {
        answer += "Pods of this service:\n";
        match peers(&pet.name) {
            Ok(names) => names.iter().for_each(|name| answer += &format!("- {name}\n")),
            Err(error) => answer += &format!("- not known: {error:#}\n"),
        }
    }
    answer
}

/// The pods of the Service that this pod's own full name belongs to.
fn peers(name: &str) -> Result<Vec<String>> {
    let hosts = fs::read_to_string("/etc/hosts")?;
    let prefix = format!("{name}.");
    let domain = hosts
        .split_whitespace()
        .find_map(|word| word.strip_prefix(&prefix))
        .context("/etc/hosts has no full name for this pod: its set has no service")?;
    let resolv = fs::read_to_string("/etc/resolv.conf")?;
    let server = resolv
        .lines()
        .find_map(|line| line.strip_prefix("nameserver "))
        .context("/etc/resolv.conf names no server")?;
    let mut query = Message::new(1, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_str(&format!("{domain}."))?, RecordType::SRV));
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(LOOKUP_TIMEOUT))?;
    socket.send_to(&query.to_vec()?, format!("{}:53", server.trim()))?;
    let mut buffer = vec![0; 65535];
    let (length, _) = socket.recv_from(&mut buffer).context("the cluster's DNS does not answer")?;
    let message = Message::from_vec(&buffer[..length])?;
    let mut names: Vec<String> = message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(service) => {
                Some(service.target.to_string().trim_end_matches('.').to_owned())
            }
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}
