//! The only door to the kernel and to container runtimes; all `unsafe`; the pod keeper.

pub mod image;
pub mod net;
mod netlink;
pub mod nft;
pub mod runtime;
