//! `/stead/v1/images`: the images of this node, listed, added from archives, and forgotten.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use host::runtime::{Image, ImageError};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::{Request, Response, body::Incoming};
use serde::Serialize;
use tokio::{fs::File, io::AsyncWriteExt as _};

use super::{
    Body, Kubelet,
    answer::{Refusal, json, refuse, text},
};

/// Most bytes of an archive: several times the largest images that are in use.
const ARCHIVE_MAX_BYTES: u64 = 64 << 30;

/// One image, as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    tags: Vec<String>,
    digests: Vec<String>,
    size_bytes: u64,
}

/// Lists, adds the archive of the body, or forgets `name`.
pub(crate) async fn answer(
    kubelet: &Kubelet,
    name: Option<String>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    match *request.method() {
        Method::GET => {
            let images = kubelet.runtime.images().await.map_err(|error| refusal(&error))?;
            json(&show(images))
        }
        Method::POST => {
            let archive = Archive::receive(&kubelet.scratch, request.into_body()).await?;
            let images = kubelet.runtime.import(archive.path.clone()).await;
            json(&show(images.map_err(|error| not_imported(&error))?))
        }
        Method::DELETE => {
            let name = name.ok_or_else(|| refuse(400, "name is missing: ?name=IMAGE"))?;
            kubelet.runtime.remove_image(&name).await.map_err(|error| refusal(&error))?;
            Ok(text(200, ""))
        }
        _ => Err(refuse(405, "405 method not allowed")),
    }
}

fn show(images: Vec<Image>) -> Vec<Shown> {
    let show = |image: Image| Shown {
        id: image.id,
        tags: image.tags,
        digests: image.digests,
        size_bytes: image.size_bytes,
    };
    images.into_iter().map(show).collect()
}

/// The caller knows its own file, and not the copy that was made of it here.
fn not_imported(error: &ImageError) -> Refusal {
    match error {
        ImageError::Archive { why, .. } => refuse(400, why.clone()),
        ImageError::Platform { found, wanted, .. } => {
            refuse(400, format!("the image is for {found}, this node is {wanted}"))
        }
        other => refusal(other),
    }
}

fn refusal(error: &ImageError) -> Refusal {
    let code = match error {
        ImageError::Name { .. } | ImageError::Archive { .. } | ImageError::Platform { .. } => 400,
        ImageError::Absent(_) => 404,
        ImageError::InUse { .. } => 409,
        ImageError::Refused { .. } | ImageError::Unreachable { .. } => 502,
        ImageError::System { .. } => 500,
    };
    refuse(code, crate::shared::chain(error))
}

/// A file of the request's body; gone when dropped.
struct Archive {
    path: PathBuf,
}

impl Drop for Archive {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "an archive was not removed");
        }
    }
}

impl Archive {
    async fn receive(folder: &Path, mut body: Incoming) -> Result<Self, Refusal> {
        let failed = |error: io::Error| refuse(500, format!("{}: {error}", folder.display()));
        let (archive, mut file) = Self::create(folder).map_err(failed)?;
        let mut size = 0_u64;
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| refuse(400, format!("the archive broke off: {error}")))?;
            let Ok(bytes) = frame.into_data() else { continue };
            size += bytes.len() as u64;
            if size > ARCHIVE_MAX_BYTES {
                return Err(refuse(
                    413,
                    format!("the archive has more than {ARCHIVE_MAX_BYTES} bytes"),
                ));
            }
            file.write_all(&bytes).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(archive)
    }

    /// A file of its own, which only we can read.
    fn create(folder: &Path) -> io::Result<(Self, File)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        std::fs::create_dir_all(folder)?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("archive-{}-{number}.tar", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                // Left over by an earlier process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                opened => return opened.map(|file| (Self { path }, File::from_std(file))),
            }
        }
    }
}
