//! Addresses and ports of Services: keys committed "if absent" together with the Service.
//!
//! ```text
//! Service (wanted) ──▶ Take what it asks for, or a free one ──▶ ops beside the Service's own
//!                      Drop what the old one had and the new one has not
//! ```
//!
//! Two writers that choose the same address collide on its key; one of them chooses again.

mod plan;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::Ipv4Addr};

use api::{ApiError, Object, k8s::api::core::v1::Service};
use bytes::Bytes;
use store::{Change, Expect, Op, Stamp};

pub use self::plan::Ranges;
use self::plan::{Claim, Occupied};
use crate::{call::Call, server::ApiServer};

/// Where addresses and ports are noted in the store; no API object has such a key.
const PREFIX: &str = "/allocations/";

impl Occupied for ApiServer {
    fn is_taken(&self, claim: Claim) -> bool {
        self.store().get(&key(claim)).is_some()
    }

    fn chance(&self) -> u32 {
        let mut bytes = [0_u8; 4];
        self.ambient().fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }
}

impl ApiServer {
    /// Gives a Service its addresses and ports; answers what must be committed with it. Objects
    /// of other kinds need nothing.
    ///
    /// # Errors
    ///
    /// 422 when what it asks for is taken or out of range, 500 when nothing is left.
    pub(crate) fn allocate(
        &self,
        old: Option<&dyn Object>,
        new: &mut dyn Object,
    ) -> Result<Vec<Op>, ApiError> {
        let Some(service) = new.as_any_mut().downcast_mut::<Service>() else {
            return Ok(Vec::new());
        };
        let old = old.and_then(|old| old.as_any().downcast_ref::<Service>());
        let ranges = &self.options().ranges;
        let had: BTreeSet<Claim> = old.map(plan::claims).unwrap_or_default();
        plan::fill(ranges, self, old, service, &had).map_err(|causes| {
            let resource = api::resource::of::<Service>();
            let name = service.metadata.name.as_deref().unwrap_or_default();
            ApiError::invalid(Call::about_kind(resource), name, &causes)
        })?;
        let has = plan::claims(service);
        let owner = format!(
            "{}/{}",
            service.metadata.namespace.as_deref().unwrap_or_default(),
            service.metadata.name.as_deref().unwrap_or_default()
        );
        let mut ops: Vec<Op> = has.difference(&had).map(|claim| take(*claim, &owner)).collect();
        ops.extend(had.difference(&has).filter_map(|claim| self.give_back(*claim)));
        Ok(ops)
    }

    /// What must be committed with a Service's removal.
    pub(crate) fn release(&self, object: &dyn Object) -> Vec<Op> {
        let service = object.as_any().downcast_ref::<Service>();
        let claims = service.map(plan::claims).unwrap_or_default();
        claims.into_iter().filter_map(|claim| self.give_back(claim)).collect()
    }

    fn give_back(&self, claim: Claim) -> Option<Op> {
        let row = self.store().get(&key(claim))?;
        let value = Stamp { before: Bytes::from_static(b"{\"released\":\""), after: END };
        let expect = Expect::At(row.revision);
        Some(Op { key: key(claim), expect, change: Change::Delete { value } })
    }
}

const END: Bytes = Bytes::from_static(b"\"}");

/// Whether this key notes an address or a port.
pub(crate) fn is_note(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// Such a note with a hole where its version stands.
pub(crate) fn hole(note: &Bytes) -> Result<Stamp, ApiError> {
    const KEY: &[u8] = b"\"revision\":\"";
    let end = note.len().checked_sub(END.len()).filter(|end| note[*end..] == END[..]);
    let start = note.windows(KEY.len()).rposition(|window| window == KEY);
    match (start.map(|start| start + KEY.len()), end) {
        (Some(start), Some(end)) if start <= end => {
            Ok(Stamp { before: note.slice(..start), after: note.slice(end..) })
        }
        _ => Err(ApiError::internal("a note of an address or port has no version")),
    }
}

fn take(claim: Claim, owner: &str) -> Op {
    let before = format!("{{\"service\":{owner:?},\"revision\":\"").into();
    let value = Stamp { before, after: END };
    let change = Change::Put { value, index: Bytes::new() };
    Op { key: key(claim), expect: Expect::Absent, change }
}

fn key(claim: Claim) -> String {
    match claim {
        Claim::Address(address) => {
            format!("{PREFIX}addresses/{}", Ipv4Addr::from_bits(address))
        }
        Claim::Port(port) => format!("{PREFIX}nodeports/{port}"),
    }
}
