//! What other tools for applying manifests are tested for, asked of the real program on a real API server. The numbers
//! are those of the list of cases that was collected from their test suites; what has none is a promise of our own.

mod apply;
mod bench;
mod diff;
mod errors;
mod immutable;
mod order;
mod ownership;
mod wait;
