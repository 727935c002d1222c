//! Lets the linker keep one copy of functions that came out alike: a fortieth of the binary.
//!
//! Only lld knows the word, which is rustc's own linker on x86-64 Linux; whoever names another one
//! gets the larger binary. Nothing here compares addresses of functions.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let is = |name: &str, wanted: &str| env::var(name).is_ok_and(|value| value == wanted);
    let own_linker = env::var_os("RUSTC_LINKER").is_none()
        && !env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("fuse-ld"));
    let lld = is("TARGET", "x86_64-unknown-linux-gnu") && own_linker;
    if is("PROFILE", "release") && lld {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}
