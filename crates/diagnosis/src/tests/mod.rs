//! Rows: a small cluster, a question, and the three lines of the answer.

mod pods;
mod services;
mod sets;
mod storage;
mod world;
