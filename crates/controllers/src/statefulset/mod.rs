//! StatefulSet: stable names, stable storage, one change at a time.
//!
//! ```text
//!   set, pods, claims, revisions ──▶ View ──▶ reconcile ──▶ Plan ──▶ manager
//!        (caches)                    facts    pure          writes, events, waits
//! ```
//!
//! `view` says what a pod is to its set (health), `ordinals` which pods there shall be; `revision`
//! names templates; `identity` builds pods; `claims` builds claims and says who owns them; `adopt`
//! takes in and lets go; `plan` puts the rules in order, `fill` makes pods, `roll` takes them away;
//! `status` counts; `reasons` says what is the matter with a pod, and `conditions` tells it on the set.
//! `policy` reads the set's StatefulSetPolicy, `deadline` keeps a rollout's clock, and `report` tells
//! the policy what became of it.
//! `judge` holds the promises apart from the code that keeps them; debug builds ask it every time.
//!
//! Source of every rule: kubernetes v1.36 `pkg/controller/statefulset`; where stead departs from
//! it, the rule says so.

mod adopt;
mod claims;
mod conditions;
mod deadline;
mod fill;
mod go_json;
mod identity;
#[cfg(any(test, debug_assertions))]
mod judge;
mod ordinals;
mod plan;
mod policy;
mod reasons;
mod report;
mod revision;
mod roll;
mod status;
#[cfg(test)]
mod tests;
mod view;

pub use identity::{claim_name, member_ordinal, pod_name};
pub use plan::reconcile;
pub use policy::{Rules, unavailability};
pub use report::without_set;
pub use revision::{data as revision_data, hash as revision_hash};
pub use view::{Health, Options, Refused, View};
