//! Runs the controllers and the scheduler: caches -> view -> plan -> API writes.

#![forbid(unsafe_code)]
