//! HTTP -> authn -> authz -> admission -> store -> watch; discovery, OpenAPI, tables, proxying to nodes.

#![forbid(unsafe_code)]

mod contract;

pub use contract::{
    Access, Admission, Ambient, Attributes, Authenticator, Authorizer, Decision, Operation,
    Subject, Write,
};
