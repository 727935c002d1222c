//! What the store promises, run against both journals.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod backup;
mod commit;
mod damage;
mod model;
mod recovery;
mod watch;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use store::{
    Change, DiskJournal, DiskOptions, Event, Expect, Listing, Op, OpenError, Options, Stamp, Store,
    Window,
};

/// Files so small that a short history fills several.
const SMALL: DiskOptions = DiskOptions { segment_bytes: 600, chunk_bytes: 256 };

fn stamped(text: &str) -> Stamp {
    Stamp {
        before: Bytes::copy_from_slice(format!("{text}@").as_bytes()),
        after: Bytes::from_static(b"!"),
    }
}

fn put(key: &str, expect: Expect, text: &str) -> Op {
    Op {
        key: key.to_owned(),
        expect,
        change: Change::Put {
            value: stamped(text),
            index: Bytes::copy_from_slice(text.as_bytes()),
        },
    }
}

fn delete(key: &str, expect: Expect) -> Op {
    Op { key: key.to_owned(), expect, change: Change::Delete { value: stamped("last") } }
}

/// Rows as text: `key=value`.
fn shown(listing: &Listing) -> String {
    let rows: Vec<String> = listing
        .rows
        .iter()
        .map(|row| format!("{}={}", row.key, String::from_utf8_lossy(&row.value)))
        .collect();
    format!("{}: {} +{}", listing.revision, rows.join(" "), listing.remaining)
}

/// Events as text: `revision key before->after`.
fn told(events: &[Event]) -> String {
    let one = |event: &Event| {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let before = event.before.as_ref().map_or_else(|| "-".to_owned(), |row| text(&row.value));
        let gone = if event.deleted { " gone" } else { "" };
        let (revision, after) = (event.revision, &event.after);
        format!("{revision} {} {before}->{}{gone}", after.key, text(&after.value))
    };
    events.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn open_disk(folder: &Path, sizes: DiskOptions) -> Result<Store, OpenError> {
    Store::open(DiskJournal::open(folder, sizes)?, Options::default())
}

/// A clock that a test sets.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }

    fn options(&self, window: Window) -> Options {
        let clock = self.0.clone();
        Options { window, observer: None, clock: Arc::new(move || clock.load(Ordering::SeqCst)) }
    }
}

/// Every file of a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

/// Makes the folder what `files` said it was.
fn put_back(folder: &Path, files: &BTreeMap<std::path::PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !files.contains_key(&path) {
            std::fs::remove_file(path).unwrap();
        }
    }
    for (path, bytes) in files {
        if std::fs::read(path).ok().as_ref() != Some(bytes) {
            std::fs::write(path, bytes).unwrap();
        }
    }
}
