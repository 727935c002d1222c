//! Verbs for people: one file a verb.

#![forbid(unsafe_code)]
