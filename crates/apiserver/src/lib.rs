//! HTTP -> authn -> authz -> admission -> store -> watch; discovery, OpenAPI, tables, proxying to nodes.
//!
//! ```text
//!  socket ─▶ serve ─┐                                        ┌▶ list, watch ─▶ table
//!                   ├▶ server: ids, identity, limits, rights ┼▶ write ─▶ admission ─▶ store
//!  in-process ──────┘                                        ├▶ connect (exec, logs, proxies)
//!                                                            └▶ document (health, discovery …)
//! ```
//!
//! It knows the store; nobody else does.

#![forbid(unsafe_code)]

pub mod access;
mod allocate;
mod ambient;
mod answer;
mod backup;
mod body;
mod bootstrap;
mod call;
mod codec;
mod contract;
mod discovery;
mod dispatch;
mod document;
mod impersonate;
mod limit;
mod list;
mod lookup;
mod metrics;
mod negotiate;
mod path;
mod plugins;
mod protobuf;
mod proxy;
mod query;
mod quota;
mod serve;
mod server;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod version;
mod watch;
mod write;

pub use self::{
    allocate::Ranges,
    ambient::System,
    answer::{Body, BoxError, RequestBody},
    bootstrap::Bootstrap,
    contract::{
        Access, Admission, Ambient, Answering, Attributes, Authenticator, Authorizer, Connect,
        Connection, Decision, Operation, Subject, Write,
    },
    lookup::Lookup,
    plugins::Plugins,
    proxy::{Nodes, kubelet_tls},
    server::{ApiServer, Options},
    version::Version,
};
