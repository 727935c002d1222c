//! Rows of this decision, named by the ids of the specification; then the second judge at large.

mod case;
mod claims;
mod conditions;
mod conformance;
mod departures;
mod exhaustive;
mod identity;
mod mutants;
mod policy;
mod revisions;
mod status;
mod sync;
mod update;
mod world;
