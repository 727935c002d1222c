//! Every byte flipped, every file cut and removed: all rows are there, or the store names the file.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use store::{DiskJournal, Expect, JournalError, OpenError, Store, Window};

use crate::{Clock, SMALL, delete, files, put, put_back, shown};

/// A history that leaves snapshots, whole segments and a begun one; answers the rows it ends with.
async fn history(folder: &Path) -> String {
    let clock = Clock::default();
    let window = Window { age_ms: 12, bytes: 1 << 20 };
    let journal = DiskJournal::open(folder, SMALL).unwrap();
    let store = Store::open(journal, clock.options(window)).unwrap();
    for number in 0..30_u64 {
        clock.set(number);
        let fresh = put(&format!("/{number:02}"), Expect::Absent, "value");
        let mut ops = vec![fresh];
        if number % 3 == 2 {
            ops.push(delete(&format!("/{:02}", number - 2), Expect::Present));
            ops.push(put(&format!("/{:02}", number - 1), Expect::Present, "again"));
        }
        store.commit(ops).await.unwrap();
    }
    let rows = shown(&store.list("", None, 0));
    store.close().await;
    rows
}

/// What a store makes of a damaged folder.
enum Verdict {
    Whole,
    Refused,
}

fn judge(folder: &Path, want: &str, damage: &str) -> Verdict {
    match DiskJournal::open(folder, SMALL) {
        Ok(mut journal) => {
            let store = Store::open(
                Replayed(store::Journal::replay(&mut journal).unwrap()),
                store::Options::default(),
            )
            .unwrap();
            assert_eq!(shown(&store.list("", None, 0)), want, "{damage}: silent loss");
            Verdict::Whole
        }
        Err(OpenError::Journal(
            JournalError::Damaged { path, .. } | JournalError::Io { path, .. },
        )) => {
            assert!(path.starts_with(folder), "{damage}: names {}", path.display());
            Verdict::Refused
        }
        Err(error) => panic!("{damage}: {error:?}"),
    }
}

/// A journal that only replays: a store on it starts no files.
struct Replayed(store::Replay);

impl store::Journal for Replayed {
    fn append(&mut self, _records: &[store::Record]) -> Result<(), JournalError> {
        unreachable!("nobody writes")
    }

    fn replay(&mut self) -> Result<store::Replay, JournalError> {
        Ok(std::mem::take(&mut self.0))
    }

    fn compact(&mut self, _through: u64) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Does this to every place of every file; prints how it went by file.
fn each(
    folder: &Path,
    want: &str,
    places: impl Fn(&[u8]) -> Vec<usize>,
    damage: impl Fn(&mut Vec<u8>, usize),
) -> BTreeMap<String, (u32, u32)> {
    let whole = files(folder);
    let mut verdicts = BTreeMap::new();
    for (path, bytes) in &whole {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (mut fine, mut refused) = (0, 0);
        for place in places(bytes) {
            put_back(folder, &whole);
            let mut changed = bytes.clone();
            damage(&mut changed, place);
            std::fs::write(path, changed).unwrap();
            match judge(folder, want, &format!("{name} at {place}")) {
                Verdict::Whole => fine += 1,
                Verdict::Refused => refused += 1,
            }
        }
        verdicts.insert(name, (fine, refused));
    }
    put_back(folder, &whole);
    verdicts
}

/// Files of each sort must be among those judged, and logs and snapshots must have been refused.
fn covers(verdicts: &BTreeMap<String, (u32, u32)>) {
    let mut table = String::new();
    for (name, (fine, refused)) in verdicts {
        writeln!(table, "{name}: {fine} whole, {refused} refused").unwrap();
    }
    for sort in ["log-", "rows-", "format", "acknowledged"] {
        assert!(verdicts.keys().any(|name| name.starts_with(sort)), "{table}");
    }
    for (name, (_fine, refused)) in verdicts {
        assert!(*refused > 0 || !name.starts_with("log-") && !name.starts_with("rows-"), "{table}");
    }
    let logs = verdicts.keys().filter(|name| name.starts_with("log-")).count();
    assert!(logs >= 2, "{table}");
}

#[tokio::test]
async fn a_byte_flipped_at_every_offset() {
    let folder = tempfile::tempdir().unwrap();
    let want = history(folder.path()).await;
    let every = |bytes: &[u8]| (0..bytes.len()).collect();
    // Another bit each time, so that every field of every record meets several.
    let flip = |bytes: &mut Vec<u8>, at: usize| bytes[at] ^= 1 << (at % 8);
    covers(&each(folder.path(), &want, every, flip));
}

#[tokio::test]
async fn every_file_cut_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    let want = history(folder.path()).await;
    let lengths = |bytes: &[u8]| (0..bytes.len()).collect();
    covers(&each(folder.path(), &want, lengths, Vec::truncate));
}

#[tokio::test]
async fn every_file_with_a_sector_of_zeroes() {
    let folder = tempfile::tempdir().unwrap();
    let want = history(folder.path()).await;
    let places = |bytes: &[u8]| (0..bytes.len()).step_by(16).collect();
    let blank = |bytes: &mut Vec<u8>, at: usize| {
        let end = bytes.len().min(at + 512);
        bytes[at..end].fill(0);
    };
    covers(&each(folder.path(), &want, places, blank));
}

#[tokio::test]
async fn every_file_removed() {
    let folder = tempfile::tempdir().unwrap();
    let want = history(folder.path()).await;
    let whole = files(folder.path());
    let paths: Vec<PathBuf> = whole.keys().cloned().collect();
    let mut refused = 0;
    for path in paths {
        put_back(folder.path(), &whole);
        std::fs::remove_file(&path).unwrap();
        match judge(folder.path(), &want, &path.display().to_string()) {
            Verdict::Whole => {}
            Verdict::Refused => refused += 1,
        }
    }
    assert!(refused >= 5, "{refused} of {}", whole.len());
}

#[tokio::test]
async fn a_note_of_an_older_day_beside_a_log_cut_at_a_record() {
    // The log ends cleanly after an earlier batch: only the note knows that more was acknowledged.
    let folder = tempfile::tempdir().unwrap();
    let store = crate::open_disk(folder.path(), store::DiskOptions::default()).unwrap();
    let log = folder.path().join("log-00000000000000000001");
    let mut lengths = Vec::new();
    for number in 0..10 {
        store.commit(vec![put(&format!("/{number}"), Expect::Absent, "v")]).await.unwrap();
        let bytes = std::fs::read(&log).unwrap();
        lengths.push(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    }
    store.close().await;
    let whole = files(folder.path());
    for (number, length) in lengths.iter().enumerate() {
        put_back(folder.path(), &whole);
        let mut bytes = whole[&log].clone();
        bytes[*length..].fill(0);
        std::fs::write(&log, bytes).unwrap();
        let error = DiskJournal::open(folder.path(), store::DiskOptions::default());
        if number == 9 {
            error.unwrap();
        } else if let Err(OpenError::Journal(JournalError::Damaged { path, what })) = error {
            assert_eq!(path, log);
            assert_eq!(
                what,
                format!("it ends at revision {}, but 10 was acknowledged", number + 1)
            );
        } else {
            panic!("{number}: {error:?}");
        }
    }
}
