//! # The architecture of `stackup`
//!
//! A stack file says what should stand. The program compares it with what it remembers and with what stands, shows
//! the difference, makes it true, proves it, and takes it down again. A cluster, a Namespace, a Deployment: each is one
//! resource in one graph, with one plan, one journal, one stream of events and one way down.
//!
//! ```text
//!  stack file ─ stack ─► wanted ─┐
//!  store ─ state ─► remembered ──┼─ engine::plan (pure) ─► Plan ─ lint ─► output: the diff ─► a person says yes
//!  clusters ─ engine::refresh ───┘                                  │
//!                                                                   ▼
//!      engine::execute: what is ready → limits → one task a node ── kind ──► aws · kubernetes · local
//!           │ journal ◄ begin / id / done / failed, on disk before effects        │ events
//!           ▼                                                                     ▼
//!       snapshot saved, report, verify                                terminal · lines · JSON
//! ```
//!
//! ## Rooms
//!
//! A room uses its own layer's data and lower layers only, and rooms of layer 3 never name each other; they meet in
//! [`cli`]. A test reads every path in `src/` and fails otherwise.
//!
//! | layer | room | what belongs there |
//! |---|---|---|
//! | 0 | [`model`] | plain data: addresses, plans, events, reports, findings, secrets |
//! | 0 | [`graph`] | what needs what: order, cycles with their path |
//! | 1 | [`resource`] | the contract between the engine and every kind |
//! | 1 | [`state`] | snapshot, journal, lock |
//! | 2 | [`engine`] | refresh, plan, lint, execute, wait, cancel; knows no cloud and no terminal |
//! | 3 | [`stack`] | stack file → checked model, every mistake with its place |
//! | 3 | `aws` | the only room that names the AWS SDK: networks, roles, EKS, look ahead, sweep, audit, state in S3 (feature `aws`) |
//! | 3 | `kubernetes` | the only room that names kube: manifests, apply, diff, readiness, removal (feature `kubernetes`) |
//! | 3 | [`local`] | clusters through their own programs: the only room that starts programs |
//! | 3 | [`checks`] | what `verify` knows about the shop and the Prometheus stack |
//! | 3 | [`output`] | plans, reports, findings and events as text, lines, JSON, `JUnit` and Markdown |
//! | 4 | [`cli`] | one verb, one file; errors → sentence, hint, exit code |
//!
//! ## What the engine keeps for every kind
//!
//! - Identity before effect: what will find a thing again is on disk before the call that makes it.
//! - One path for first run, re-run, resume and adoption: look, write or not, look until ready.
//! - Found without our mark means not ours: it is refused, with its owner.
//! - A failure stops what depends on it; everything else goes on.
//! - Nothing more destructive happens than the plan that was shown.
//! - What cannot be read is an error, never "absent".

#[cfg(feature = "aws")]
pub mod aws;
pub mod checks;
pub mod cli;
pub mod engine;
pub mod graph;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod local;
pub mod model;
pub mod output;
pub mod resource;
pub mod stack;
pub mod state;
