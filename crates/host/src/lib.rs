//! The only door to the kernel and to container runtimes; all `unsafe`; the pod keeper.

mod container;
pub mod daemon;
pub mod image;
pub mod keeper;
pub mod keepers;
mod mount;
pub mod net;
mod netlink;
pub mod nft;
pub mod node;
mod preflight;
pub mod runtime;
pub mod scrub;
pub mod stream;
pub mod volume;

pub use preflight::preflight;
