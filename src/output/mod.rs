//! Turns what happened and what will happen into what a person or a script reads.
//!
//! Everything is a pure function from model types to text, or a consumer of [`crate::model::Event`]s that writes
//! into a writer it was given: no room below knows how anything looks, and nothing here decides what happens. A
//! reader that went away never stops a run. Text from outside (cluster values, log lines) is cleaned of control
//! characters before it is shown.

mod json;
mod junit;
mod lines;
mod live;
mod markdown;
mod names;
mod plan;
mod report;
mod status;
mod style;
mod terminal;
mod text;
mod timings;
mod values;
mod verify;
mod view;

pub use json::event_json;
pub use junit::verify_junit;
pub use markdown::{plan_markdown, verify_markdown};
pub use plan::{plan_json, plan_text};
pub use report::{Ending, next_text, report_text};
pub use status::{Body, Row, Section, Table, sections_text};
pub use style::{Style, Symbol, Tone, about, coarse, plural, precise};
pub use timings::timings_text;
pub use verify::{Verified, verify_json, verify_short, verify_table};
pub use view::{View, show};
