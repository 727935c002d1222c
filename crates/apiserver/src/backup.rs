//! `/stead/v1/backup`: GET streams every object at one revision, POST makes the store hold those.
//!
//! ```text
//! GET:  store ──▶ file (nobody else's, already unlinked) ──▶ client
//! POST: client ──▶ file ──▶ all of it checked ──▶ difference ──▶ ordinary commits ──▶ watches
//! ```
//!
//! A restore keeps uids and everything else; versions are new, as of any write. Owners come before
//! what they own, so that nothing restored looks orphaned.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use api::{ApiError, Reason, resource};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::Deserialize;
use store::{BackupError, Change, CommitError, Expect, JournalError, Op, Row, Stamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    allocate,
    ambient::uid,
    answer::{self, Body, BoxError, RequestBody},
    codec,
    server::{ApiServer, not_allowed},
    write::failed,
};

/// Where it is served.
pub(crate) const PATH: &str = "/stead/v1/backup";
/// A store is kept in memory; a backup that is longer than this is none of ours.
const BACKUP_MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// How much of a file is read at once, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// How many keys one commit of a restore changes: large enough for few syncs, small enough to
/// leave others their turn.
const BATCH_KEYS: usize = 500;
/// How often a batch is tried again when others write the same keys meanwhile.
const TRIES_MAX: usize = 20;
/// How deep owners own owners; deeper ones (a ring, say) count as this deep.
const DEPTH_MAX: usize = 16;

/// A folder that is gone when it is no longer held.
struct Scratch(PathBuf);

impl Scratch {
    fn new(server: &ApiServer) -> Result<Self, ApiError> {
        let path = server.options().scratch.join(format!("stead-backup-{}", uid(server.ambient())));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| ApiError::internal(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "a folder could not be removed");
        }
    }
}

/// What a restore must know of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
    metadata: HeadMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HeadMeta {
    name: String,
    namespace: String,
    uid: String,
    owner_references: Vec<Owner>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Owner {
    uid: String,
}

/// One key on its way to what the backup says.
struct Step {
    op: Op,
    /// The key must still be written after this.
    again: bool,
}

impl ApiServer {
    /// Answers the path.
    ///
    /// # Errors
    ///
    /// 400 names what is wrong with a file that is to be restored; nothing has changed then.
    pub(crate) async fn backup_or_restore(
        &self,
        parts: &Parts,
        body: RequestBody,
    ) -> Result<Response<Body>, ApiError> {
        match parts.method {
            Method::GET => self.back_up().await,
            Method::POST => self.restore(body).await,
            _ => Err(not_allowed()),
        }
    }

    async fn back_up(&self) -> Result<Response<Body>, ApiError> {
        let scratch = Scratch::new(self)?;
        let path = scratch.0.join("rows");
        let made = self.store().backup(&path).await.map_err(|error| unusable(&error))?;
        let file = tokio::fs::File::open(&path).await.map_err(ApiError::internal)?;
        let length = file.metadata().await.map_err(ApiError::internal)?.len();
        // The open file is all that is needed: nothing is left behind if the client goes.
        drop(scratch);
        let frames = futures::stream::unfold(file, |mut file| async move {
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
            match file.read_buf(&mut chunk).await {
                Ok(0) => None,
                Ok(_) => Some((Ok(Frame::data(chunk.freeze())), file)),
                Err(error) => Some((Err(BoxError::from(error)), file)),
            }
        });
        let mut response = Response::new(Body::Passed(StreamBody::new(frames).boxed_unsync()));
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CONTENT_LENGTH, length.into());
        let name = format!("attachment; filename=\"stead-{}.backup\"", made.revision);
        if let Ok(name) = HeaderValue::from_str(&name) {
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
        Ok(response)
    }

    async fn restore(&self, body: RequestBody) -> Result<Response<Body>, ApiError> {
        let scratch = Scratch::new(self)?;
        let path = scratch.0.join("rows");
        save(body, path.clone()).await?;
        let read = tokio::task::spawn_blocking(move || store::read_backup(&path)).await;
        drop(scratch);
        let (revision, rows) =
            read.map_err(ApiError::internal)?.map_err(|error| unusable(&error))?;
        let (wanted, order) = checked(rows)?;
        let objects = wanted.keys().filter(|key| !allocate::is_note(key)).count();
        for batch in order.chunks(BATCH_KEYS) {
            self.carry_over(batch, &wanted).await?;
        }
        // Controllers may have answered to the first deletions with new objects: look again.
        for _ in 0..TRIES_MAX {
            let surplus = self.surplus(&wanted)?;
            if surplus.is_empty() {
                break;
            }
            for batch in surplus.chunks(BATCH_KEYS) {
                self.carry_over(batch, &wanted).await?;
            }
        }
        tracing::info!(objects, revision, "a backup was restored");
        let text = format!("restored {objects} objects of revision {revision}\n");
        Ok(answer::text(StatusCode::OK, text))
    }

    /// Keys that the backup has not, owners first.
    fn surplus(&self, wanted: &BTreeMap<String, Row>) -> Result<Vec<String>, ApiError> {
        let rows = self.store().list("", None, 0).rows;
        let surplus = rows.iter().filter(|row| !wanted.contains_key(&*row.key));
        let mut heads = BTreeMap::new();
        for row in surplus {
            heads.insert(row.key.to_string(), head(&row.key, &row.value)?);
        }
        Ok(owners_first(&heads))
    }

    /// Makes these keys what the backup says, whoever else writes them.
    async fn carry_over(
        &self,
        keys: &[String],
        wanted: &BTreeMap<String, Row>,
    ) -> Result<(), ApiError> {
        let mut pending: Vec<String> = keys.to_vec();
        for _ in 0..TRIES_MAX {
            let mut steps = Vec::with_capacity(pending.len());
            for key in &pending {
                steps.extend(self.step(key, wanted.get(key))?);
            }
            if steps.is_empty() {
                return Ok(());
            }
            let again = steps.iter().filter(|step| step.again).map(|step| step.op.key.clone());
            let again: Vec<String> = again.collect();
            match self.commit(steps.into_iter().map(|step| step.op).collect()).await {
                Ok(_) if again.is_empty() => return Ok(()),
                Ok(_) => pending = again,
                Err(CommitError::Refused { .. }) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        let key = keys.first().map(String::as_str).unwrap_or_default();
        let text = format!("the restore stopped at {key}: others keep writing there");
        Err(ApiError::new(Reason::ServerTimeout, text))
    }

    /// What brings one key nearer to the backup; nothing where it is there.
    fn step(&self, key: &str, wanted: Option<&Row>) -> Result<Option<Step>, ApiError> {
        let found = self.store().get(key);
        let expect = found.as_ref().map_or(Expect::Absent, |row| Expect::At(row.revision));
        let step =
            |change, again| Some(Step { op: Op { key: key.to_owned(), expect, change }, again });
        Ok(match (found, wanted) {
            (None, None) => None,
            (Some(found), None) => step(Change::Delete { value: hole(key, &found.value)? }, false),
            (None, Some(wanted)) => {
                let value = hole(key, &wanted.value)?;
                step(Change::Put { value, index: wanted.index.clone() }, false)
            }
            (Some(found), Some(wanted)) => {
                let value = hole(key, &wanted.value)?;
                let same = codec::unchanged(&found, &value) && found.index == wanted.index;
                let old = head(key, &found.value)?.metadata.uid;
                if same {
                    None
                } else if old != head(key, &wanted.value)?.metadata.uid {
                    // Another object of that name: it goes, then the one of the backup comes.
                    step(Change::Delete { value: hole(key, &found.value)? }, true)
                } else {
                    step(Change::Put { value, index: wanted.index.clone() }, false)
                }
            }
        })
    }
}

/// Writes a body to a file in a folder that only we can read.
async fn save(mut body: RequestBody, path: PathBuf) -> Result<(), ApiError> {
    let mut file = tokio::fs::File::create(&path).await.map_err(ApiError::internal)?;
    let mut written = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::bad_request(format!("the body of the request could not be read: {error}"))
        })?;
        let Ok(chunk) = frame.into_data() else { continue };
        written += chunk.len() as u64;
        if written > BACKUP_MAX_BYTES {
            let text = format!("Request entity too large: limit is {BACKUP_MAX_BYTES}");
            return Err(ApiError::new(Reason::RequestEntityTooLarge, text));
        }
        file.write_all(&chunk).await.map_err(ApiError::internal)?;
    }
    file.flush().await.map_err(ApiError::internal)
}

fn unusable(error: &BackupError) -> ApiError {
    match error {
        BackupError::Journal(JournalError::Damaged { what, .. }) => {
            ApiError::bad_request(format!("the backup is damaged: {what}"))
        }
        BackupError::Journal(source) => ApiError::internal(format!("{error}: {source}")),
        _ => ApiError::internal(error),
    }
}

/// The rows by key, and the keys in the order of writing; refuses what this server cannot serve.
fn checked(rows: Vec<Row>) -> Result<(BTreeMap<String, Row>, Vec<String>), ApiError> {
    let (mut wanted, mut heads) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        let head = head(&row.key, &row.value)?;
        hole(&row.key, &row.value)?;
        if !allocate::is_note(&row.key) {
            check_object(&head, &row)?;
        }
        heads.insert(row.key.to_string(), head);
        if let Some(twice) = wanted.insert(row.key.to_string(), row) {
            return Err(wrong(&twice.key, "it is there twice"));
        }
    }
    let order = owners_first(&heads);
    Ok((wanted, order))
}

fn check_object(head: &Head, row: &Row) -> Result<(), ApiError> {
    let group = head.api_version.rsplit_once('/').map(|(group, _)| group).unwrap_or_default();
    let what = || format!("{} {:?} is not a kind of this server", head.api_version, head.kind);
    let kind = resource::by_kind(group, &head.kind).ok_or_else(|| wrong(&row.key, what()))?;
    if kind.key(&head.metadata.namespace, &head.metadata.name) != *row.key {
        return Err(wrong(&row.key, "the object has another name"));
    }
    let value = codec::shown_value(kind, &row.value).map_err(|error| wrong(&row.key, error))?;
    kind.decode(&value).map_err(|error| wrong(&row.key, error))?;
    Ok(())
}

fn wrong(key: &str, what: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("the backup is damaged: {key}: {what}"))
}

fn head(key: &str, value: &[u8]) -> Result<Head, ApiError> {
    serde_json::from_slice(value).map_err(|error| wrong(key, error))
}

/// The value with a hole where its version stands.
fn hole(key: &str, value: &Bytes) -> Result<Stamp, ApiError> {
    let hole = if allocate::is_note(key) { allocate::hole(value) } else { codec::stamp_of(value) };
    hole.map_err(|error| wrong(key, error))
}

/// Namespaces, then what nobody owns, then what that owns, and so on; by key within. Volumes come
/// last of all: one whose claim is not there yet would look released, and its data be deleted.
fn owners_first(heads: &BTreeMap<String, Head>) -> Vec<String> {
    let owners: BTreeMap<&str, &[Owner]> = heads
        .values()
        .map(|head| (head.metadata.uid.as_str(), head.metadata.owner_references.as_slice()))
        .collect();
    let depth = |head: &Head| -> usize {
        let mut depth = 0;
        let mut above: BTreeSet<&str> =
            head.metadata.owner_references.iter().map(|owner| owner.uid.as_str()).collect();
        while !above.is_empty() && depth < DEPTH_MAX {
            depth += 1;
            let next = above.iter().filter_map(|uid| owners.get(uid)).copied().flatten();
            above = next.map(|owner| owner.uid.as_str()).collect();
        }
        depth
    };
    let place = |head: &Head| match head.kind.as_str() {
        "Namespace" => 0,
        "PersistentVolume" => DEPTH_MAX + 2,
        _ => 1 + depth(head),
    };
    let mut order: Vec<(usize, &String)> =
        heads.iter().map(|(key, head)| (place(head), key)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, key)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_come_first_and_volumes_last() {
        let head = |kind: &str, uid: &str, owner: Option<&str>| {
            let owner_references = owner.map(|uid| Owner { uid: uid.to_owned() });
            let metadata = HeadMeta {
                uid: uid.to_owned(),
                owner_references: owner_references.into_iter().collect(),
                ..HeadMeta::default()
            };
            Head { kind: kind.to_owned(), metadata, ..Head::default() }
        };
        let heads = BTreeMap::from([
            ("claim".to_owned(), head("PersistentVolumeClaim", "c", Some("s"))),
            ("namespace".to_owned(), head("Namespace", "n", None)),
            ("pod".to_owned(), head("Pod", "p", Some("s"))),
            ("ring".to_owned(), head("Pod", "r", Some("r"))),
            ("set".to_owned(), head("StatefulSet", "s", None)),
            ("volume".to_owned(), head("PersistentVolume", "v", None)),
        ]);
        let order = owners_first(&heads);
        assert_eq!(order, ["namespace", "set", "claim", "pod", "ring", "volume"]);
    }
}
