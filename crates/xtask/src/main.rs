//! Chores in Rust: ci, tidy, images, bench.

#![forbid(unsafe_code)]

fn main() {}
