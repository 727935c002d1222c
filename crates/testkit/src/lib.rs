//! Builders of objects and `check` helpers for tests.

#![forbid(unsafe_code)]
