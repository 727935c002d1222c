//! Rows of this decision.
