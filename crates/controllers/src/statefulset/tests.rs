//! Rows, named by the ids of the spec.
