//! An image made from one static program, without a registry or an archive.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::json;

use super::{
    Fault, Images, Name,
    config::node_architecture,
    store::{Store, Stored},
    stream::digest,
};
use crate::runtime::{Image, ImageError};

/// Tar pads everything to blocks of this many bytes.
const BLOCK_BYTES: u64 = 512;

const PASSWD: &str = "root:x:0:0:root:/:/stead\nnobody:x:65534:65534:nobody:/:/stead\n";
const GROUP: &str = "root:x:0:\nnobody:x:65534:\n";
const NSSWITCH: &str = "hosts: files dns\n";

impl Images {
    /// Makes an image `name` that holds the program `binary` as `/stead`, beside the few files that
    /// a container expects (`/etc/passwd`, `/etc/group`, `/tmp` …), and runs `entrypoint`.
    ///
    /// # Errors
    /// [`ImageError::Name`], [`ImageError::System`].
    pub async fn from_binary(
        &self,
        name: &str,
        binary: PathBuf,
        entrypoint: Vec<String>,
        now: SystemTime,
    ) -> Result<Image, ImageError> {
        let name = Name::parse(name)?.to_string();
        let images = self.clone();
        let path = binary.clone();
        tokio::task::spawn_blocking(move || {
            build(&images.store, name, &binary, &entrypoint, now)
                .map_err(|fault| fault.of_file(&binary))
        })
        .await
        .unwrap_or_else(|error| {
            Err(ImageError::System { what: path.display().to_string(), source: error.into() })
        })
    }
}

fn build(
    store: &Store,
    name: String,
    binary: &Path,
    entrypoint: &[String],
    now: SystemTime,
) -> Result<Image, Fault> {
    let stream = layer(binary).map_err(|source| Fault::system(binary.display(), source))?;
    let diff_id = store.add_layer(stream, None)?;
    let _wanted = store.want(std::slice::from_ref(&diff_id));
    let config = json!({
        "architecture": node_architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": entrypoint,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    })
    .to_string()
    .into_bytes();
    let id = digest(&config);
    let (manifests, digests) = (Vec::new(), Vec::new());
    let stored = Stored { config, manifests, tags: vec![name], digests, pulled: false };
    store
        .add(vec![stored], now)?
        .pop()
        .ok_or_else(|| Fault::Bad(format!("image {id} vanished while it was made")))
}

/// The layer's tar stream; the program's bytes pass through without a copy in memory.
fn layer(binary: &Path) -> io::Result<impl Read> {
    let program = File::open(binary)?;
    let length = program.metadata()?.len();
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode) in [
        ("etc/", 0o755),
        ("proc/", 0o755),
        ("sys/", 0o755),
        ("dev/", 0o755),
        ("tmp/", 0o1777),
        ("var/", 0o755),
        ("var/run/", 0o755),
        ("var/tmp/", 0o1777),
        ("run/", 0o755),
        ("root/", 0o700),
    ] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        builder.append_data(&mut header, path, io::empty())?;
    }
    for (path, text) in
        [("etc/passwd", PASSWD), ("etc/group", GROUP), ("etc/nsswitch.conf", NSSWITCH)]
    {
        let mut header = header(tar::EntryType::Regular, 0o644, text.len() as u64);
        builder.append_data(&mut header, path, text.as_bytes())?;
    }
    let mut last = header(tar::EntryType::Regular, 0o755, length);
    last.set_path("stead")?;
    last.set_cksum();
    let mut start = builder.get_ref().clone();
    start.extend_from_slice(last.as_bytes());
    let padding = (BLOCK_BYTES - length % BLOCK_BYTES) % BLOCK_BYTES;
    let end = io::repeat(0).take(padding + 2 * BLOCK_BYTES);
    Ok(Cursor::new(start).chain(program.take(length)).chain(end))
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    // The same program makes the same layer, whenever it is made.
    header.set_mtime(0);
    header.set_size(size);
    header
}
