//! Who waits for a write to show, woken when it can have shown and not by every change.
//!
//! Versions rise in a watch, so that a write shows once its version, or a later one, has come. The
//! end of a deleted object has no version that is known before: its own next change is waited for.

use std::collections::BTreeMap;

use tokio::sync::oneshot::{Receiver, Sender, channel};

use crate::key::{Expectation, Key};

/// Everyone who waits at one cache.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_version: BTreeMap<u64, Vec<Sender<()>>>,
    by_key: BTreeMap<Key, Vec<Sender<()>>>,
}

impl Waiting {
    /// Ends when the expectation is worth another look.
    pub(super) fn enter(&mut self, wanted: &Expectation) -> Receiver<()> {
        let (sender, receiver) = channel();
        let others = if wanted.version == u64::MAX {
            self.by_key.entry(Key::new(&wanted.namespace, &wanted.name)).or_default()
        } else {
            self.by_version.entry(wanted.version).or_default()
        };
        // Whoever gave up waiting leaves no trace for long.
        others.retain(|other| !other.is_closed());
        others.push(sender);
        receiver
    }

    /// An event of this object has come, and all versions up to `highest` have.
    pub(super) fn ring(&mut self, key: &Key, highest: u64) {
        self.by_key.remove(key);
        while let Some(first) = self.by_version.first_entry()
            && *first.key() <= highest
        {
            first.remove();
        }
    }

    /// A list has come: anything may show.
    pub(super) fn ring_all(&mut self) {
        self.by_version.clear();
        self.by_key.clear();
    }
}
