//! The nouns: Kubernetes objects, the table of kinds, defaults, validation, patches, selectors.
//!
//! Pure: nothing here reads a clock, a file or a socket.

#![forbid(unsafe_code)]

pub use k8s_openapi as k8s;

pub mod columns;
pub mod decode;
pub mod defaults;
pub mod discovery;
pub mod facts;
pub mod field;
pub mod fields;
pub mod grace;
pub mod kinds;
pub mod managed;
pub mod names;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod policy;
pub mod prepare;
pub mod quantity;
pub mod requests;
pub mod resource;
pub mod selector;
pub mod status;
pub mod unsupported;
pub mod validation;
mod warnings;

pub use object::Object;
pub use resource::{Part, Resource, Scope};
pub use status::{ApiError, Reason};
