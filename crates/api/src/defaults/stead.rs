//! What is filled in where a field is absent. The `stead.io` group.
//!
//! The same as the CRD in `deploy/` has a cluster fill in: words, where what holds them is there.

use super::omit::{metadata, omit, text};
use crate::policy::StatefulSetPolicy;

pub(crate) fn stateful_set_policy(policy: &mut StatefulSetPolicy) {
    metadata(&mut policy.metadata);
    if let Some(rollout) = &mut policy.spec.rollout {
        text(&mut rollout.creation, "Ordered");
        text(&mut rollout.on_deadline, "None");
    }
    if let Some(ordinals) = &mut policy.spec.ordinals {
        text(&mut ordinals.claims, "Retain");
        omit(&mut ordinals.reserved);
    }
    if let Some(status) = &mut policy.status {
        omit(&mut status.conditions);
        omit(&mut status.last_completed_revision);
        omit(&mut status.returned_from);
    }
}
