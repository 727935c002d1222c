//! HTTP -> authn -> authz -> admission -> store -> watch; discovery, OpenAPI, tables, proxying to nodes.

#![forbid(unsafe_code)]
