//! The entries of the table of kinds, a file a group.

use crate::resource::Resource;

pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod events;
pub mod rbac;
pub mod scheduling;
pub mod stead;
pub mod storage;

pub(crate) static ALL: &[&dyn Resource] = &[
    &core::CONFIG_MAP,
    &core::ENDPOINTS,
    &core::EVENT,
    &core::LIMIT_RANGE,
    &core::NAMESPACE,
    &core::NODE,
    &core::PERSISTENT_VOLUME_CLAIM,
    &core::PERSISTENT_VOLUME,
    &core::POD,
    &core::RESOURCE_QUOTA,
    &core::SECRET,
    &core::SERVICE_ACCOUNT,
    &core::SERVICE,
    &apps::CONTROLLER_REVISION,
    &apps::STATEFUL_SET,
    &authentication::SELF_SUBJECT_REVIEW,
    &authentication::TOKEN_REVIEW,
    &authorization::LOCAL_SUBJECT_ACCESS_REVIEW,
    &authorization::SELF_SUBJECT_ACCESS_REVIEW,
    &authorization::SELF_SUBJECT_RULES_REVIEW,
    &authorization::SUBJECT_ACCESS_REVIEW,
    &coordination::LEASE,
    &discovery::ENDPOINT_SLICE,
    &events::EVENT,
    &rbac::CLUSTER_ROLE_BINDING,
    &rbac::CLUSTER_ROLE,
    &rbac::ROLE_BINDING,
    &rbac::ROLE,
    &scheduling::PRIORITY_CLASS,
    &storage::STORAGE_CLASS,
    &stead::STATEFUL_SET_POLICY,
];
