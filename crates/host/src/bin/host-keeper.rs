//! A keeper alone, for tests of this crate: in the product the binary `stead` is its own keeper.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(2).collect();
    match env::args().nth(1).as_deref() {
        Some("keeper") => ExitCode::from(u8::try_from(host::keeper::main(&args)).unwrap_or(1)),
        _ => ExitCode::from(2),
    }
}
