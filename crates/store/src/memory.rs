//! A journal in memory: for tests, and for clusters that need not outlive their process.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::contract::{Journal, JournalError, Record, Replay, Row};

/// What the next appends shall answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// They succeed.
    #[default]
    None,
    /// The disk is full.
    Full,
    /// The disk fails.
    Io,
}

#[derive(Debug, Default)]
struct Memory {
    base: u64,
    rows: BTreeMap<Arc<str>, Row>,
    records: Vec<Record>,
    fault: Fault,
    appends: u64,
}

/// A journal in memory. Clones share it, so a test can close a store and open another on it.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    memory: Arc<Mutex<Memory>>,
}

impl MemoryJournal {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on appends answer so.
    pub fn set_fault(&self, fault: Fault) {
        self.memory().fault = fault;
    }

    /// How many batches have been appended.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.memory().appends
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let mut memory = self.memory();
        let path = PathBuf::from("memory");
        match memory.fault {
            Fault::None => {}
            Fault::Full => return Err(JournalError::Full { path }),
            Fault::Io => {
                let source = std::io::Error::other("injected");
                return Err(JournalError::Io { path, source });
            }
        }
        memory.appends += 1;
        memory.records.extend_from_slice(records);
        Ok(())
    }

    fn replay(&mut self) -> Result<Replay, JournalError> {
        let memory = self.memory();
        Ok(Replay {
            base: memory.base,
            rows: memory.rows.values().cloned().collect(),
            records: memory.records.clone(),
        })
    }

    fn compact(&mut self, through: u64) -> Result<(), JournalError> {
        let mut memory = self.memory();
        let kept = memory.records.partition_point(|record| record.revision <= through);
        let forgotten: Vec<Record> = memory.records.drain(..kept).collect();
        for record in forgotten {
            memory.base = record.revision;
            for change in record.changes {
                if change.deleted {
                    memory.rows.remove(&change.key);
                } else {
                    let row = Row {
                        key: change.key.clone(),
                        revision: record.revision,
                        value: change.value,
                        index: change.index,
                    };
                    memory.rows.insert(change.key, row);
                }
            }
        }
        Ok(())
    }
}
