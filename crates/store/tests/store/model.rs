//! Random histories against a model that is too simple to be wrong.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::{DiskJournal, DiskOptions, Expect, Journal, MemoryJournal, Op, Options, Store, Window};

use crate::{Clock, SMALL, delete, put};

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(u8, Demand, bool)>),
    Reopen,
    Later(u8),
}

#[derive(Debug, Clone, Copy)]
enum Demand {
    Absent,
    Current,
    Stale,
    Present,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let demand = prop_oneof![
        2 => Just(Demand::Absent),
        4 => Just(Demand::Current),
        1 => Just(Demand::Stale),
        2 => Just(Demand::Present),
    ];
    let change = (0_u8..8, demand, any::<bool>());
    let step = prop_oneof![
        12 => prop::collection::vec(change, 1..4).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
        2 => (1_u8..20).prop_map(Step::Later),
    ];
    prop::collection::vec(step, 1..60)
}

type Rows = BTreeMap<String, (u64, String)>;

/// Every revision's rows, from 0 on.
struct Model {
    history: Vec<Rows>,
}

impl Model {
    fn ops(&self, changes: &[(u8, Demand, bool)]) -> Vec<Op> {
        let rows = self.history.last().unwrap();
        let op = |(number, demand, gone): &(u8, Demand, bool)| {
            let key = format!("/{}/{number}", number % 2);
            let at = rows.get(&key).map_or(0, |row| row.0);
            let expect = match demand {
                Demand::Absent => Expect::Absent,
                Demand::Current => Expect::At(at),
                Demand::Stale => Expect::At(at + 1),
                Demand::Present => Expect::Present,
            };
            if *gone { delete(&key, expect) } else { put(&key, expect, "v") }
        };
        changes.iter().map(op).collect()
    }

    fn accepts(&mut self, ops: &[Op]) -> bool {
        let rows = self.history.last().unwrap();
        let revision = self.history.len() as u64;
        let mut after = rows.clone();
        let mut keys = std::collections::BTreeSet::new();
        for op in ops {
            let found = rows.get(&op.key).map(|row| row.0);
            let holds = match op.expect {
                Expect::Absent => found.is_none(),
                Expect::At(at) => found == Some(at),
                Expect::Present => found.is_some(),
            };
            if !holds || !keys.insert(&op.key) {
                return false;
            }
            match op.change {
                store::Change::Put { .. } => {
                    after.insert(op.key.clone(), (revision, format!("v@{revision}!")))
                }
                store::Change::Delete { .. } => after.remove(&op.key),
            };
        }
        self.history.push(after);
        true
    }
}

fn rows_of(listing: &store::Listing) -> Rows {
    let row = |row: &std::sync::Arc<store::Row>| {
        let value = String::from_utf8(row.value.to_vec()).unwrap();
        (row.key.to_string(), (row.revision, value))
    };
    listing.rows.iter().map(row).collect()
}

/// All that can be read agrees with the model, at every revision that is kept.
fn agree(store: &Store, model: &Model) {
    let latest = model.history.len() as u64 - 1;
    assert_eq!(store.revision(), latest);
    assert_eq!(&rows_of(&store.list("", None, 0)), model.history.last().unwrap());
    for revision in store.oldest()..=latest {
        let want = &model.history[usize::try_from(revision).unwrap()];
        assert_eq!(&rows_of(&store.list_at("", None, 0, revision).unwrap()), want, "at {revision}");
        // Events from there on lead to the latest rows, each from the row that it names.
        let mut rows = want.clone();
        for event in store.watch("", revision).unwrap().take(1000).unwrap() {
            let key = event.after.key.to_string();
            let before = rows.get(&key).map(|row| row.0);
            assert_eq!(event.before.map(|row| row.revision), before);
            if event.deleted {
                rows.remove(&key);
            } else {
                let value = String::from_utf8(event.after.value.to_vec()).unwrap();
                rows.insert(key, (event.revision, value));
            }
        }
        assert_eq!(&rows, model.history.last().unwrap(), "from {revision}");
    }
}

async fn run(steps: Vec<Step>, open: impl Fn(Options) -> Store) {
    let clock = Clock::default();
    let window = Window { age_ms: 20, bytes: 200 };
    let mut now = 0;
    let mut store = open(clock.options(window));
    let mut model = Model { history: vec![Rows::new()] };
    for step in steps {
        match step {
            Step::Commit(changes) => {
                let ops = model.ops(&changes);
                let accepted = model.accepts(&ops);
                let answer = store.commit(ops).await;
                assert_eq!(answer.is_ok(), accepted, "{answer:?}");
            }
            Step::Reopen => {
                store.close().await;
                store = open(clock.options(window));
                agree(&store, &model);
            }
            Step::Later(ms) => {
                now += u64::from(ms);
                clock.set(now);
            }
        }
    }
    store.close().await;
    agree(&store, &model);
    agree(&open(clock.options(window)), &model);
}

fn check(steps: Vec<Step>, open: impl Fn(Options) -> Store) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps, open));
}

fn opened(journal: impl Journal + 'static, options: Options) -> Store {
    Store::open(journal, options).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn in_memory(steps in steps()) {
        let journal = MemoryJournal::default();
        check(steps, |options| opened(journal.clone(), options));
    }

    #[test]
    fn on_disk_in_small_files(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        check(steps, |options| opened(DiskJournal::open(folder.path(), SMALL).unwrap(), options));
    }

    #[test]
    fn on_disk_in_files_as_they_are(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let sizes = DiskOptions { chunk_bytes: 4096, ..DiskOptions::default() };
        check(steps, |options| opened(DiskJournal::open(folder.path(), sizes).unwrap(), options));
    }
}
