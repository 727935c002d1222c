//! Answers queries from a zone that it keeps up by watching.

#![forbid(unsafe_code)]
