//! Keepers and containers on the real kernel. Needs root and Debian's `busybox-static`.

#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]

mod life;
mod node;
mod rights;
mod streams;
mod world;
