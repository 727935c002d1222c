//! Who set which field: `metadata.managedFields`, and server-side apply, as pure functions.
//!
//! ```text
//!   update: live, new ──▶ compare ──▶ touched, removed ──▶ entries: the writer gains, others lose
//!   apply:  live, wish ──▶ merge ──▶ prune what it no longer wishes ──▶ compare ──▶ conflicts?
//! ```
//!
//! Both run on plain JSON values beside the types of [`crate::facts`], and work on FieldsV1 trees as
//! they are stored. A write that changes nothing touches nothing.
//!
//! Source: sigs.k8s.io/structured-merge-diff v6; apimachinery v1.36 `pkg/util/managedfields`.

mod apply;
mod compare;
mod entries;
mod set;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::Value;

pub use self::apply::{ApplyError, Conflict, apply};
use self::{
    compare::Scope,
    entries::{Entries, Operation},
};
use crate::{facts, resource::Names};

/// More entries of updaters than this are folded into `ancient-changes`.
pub const UPDATERS_MAX: usize = 10;

/// Longest name of a manager.
pub const MANAGER_MAX_BYTES: usize = 128;

/// Who writes, and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// `kubectl`, from `fieldManager` or the user agent: see [`manager_name`].
    pub manager: &'a str,
    /// `status`, `scale`, …; empty for the object itself.
    pub subresource: &'a str,
    /// For `time` of the entry; whole seconds.
    pub now: Timestamp,
}

/// The manager of a request: `fieldManager`, or the user agent up to its first slash.
#[must_use]
pub fn manager_name(field_manager: Option<&str>, user_agent: &str) -> String {
    if let Some(name) = field_manager.filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let first = user_agent.split('/').next().unwrap_or_default();
    let mut name = String::new();
    for letter in first.chars().filter(|letter| !letter.is_control()) {
        if name.len() + letter.len_utf8() > MANAGER_MAX_BYTES {
            break;
        }
        name.push(letter);
    }
    name
}

/// Writes `metadata.managedFields` of a created, updated or patched object: [`noted`], for an object that
/// carries them.
pub fn update(kind: &Names, live: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let said = take_managed(new);
    let stored = live.and_then(|live| live.get("metadata")?.get("managedFields")).cloned();
    let entries = noted(kind, (live, stored), (new, said), writer);
    put_managed(new, entries);
}

/// The `metadata.managedFields` of a created, updated or patched object; `None` when there are none.
///
/// Give it the object after defaults and before the server's own changes (admission); the stored one is
/// `None` on create. Beside each stand its managed fields, which need not be in the object itself. What
/// the new object says of them counts, as far as it can be read: `[{}]` clears all.
#[must_use]
pub fn noted(
    kind: &Names,
    (live, stored): (Option<&Value>, Option<Value>),
    (new, said): (&Value, Option<Value>),
    writer: &Writer<'_>,
) -> Option<Value> {
    let scope = Scope::of(writer.subresource);
    let changes = compare::compare(facts::of_kind(kind), live, Some(new), scope);
    let by_request = said.filter(|_| writer.subresource.is_empty());
    if changes.is_empty() && by_request.as_ref().is_none_or(|said| Some(said) == stored.as_ref()) {
        return stored;
    }
    let mut entries = Entries::read_either(by_request, stored);
    for entry in entries.iter_mut() {
        entry.lose(&changes.touched);
        entry.lose(&changes.removed);
    }
    if !changes.touched.is_empty() {
        let version = kind.api_version();
        entries.add(Operation::Update, writer, &version, changes.touched);
    }
    entries.cap_updaters(&kind.api_version());
    entries.write()
}

fn take_managed(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

fn put_managed(object: &mut Value, entries: Option<Value>) {
    if let (Some(entries), Some(metadata)) =
        (entries, object.get_mut("metadata").and_then(Value::as_object_mut))
    {
        metadata.insert("managedFields".to_owned(), entries);
    }
}
