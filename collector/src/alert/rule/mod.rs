//! Rules: what is wrong, as data.
//!
//! ```text
//! text --read--> raw --parse, check--> Rule --+-- words: its sentences
//!                                             +-- cases: rows that it is tried with
//! ```

pub mod cases;
pub mod change;
mod check;
mod columns;
mod definition;
pub mod expr;
mod fields;
pub mod parse;
mod raw;
pub mod read;
mod shipped;
pub mod source;
pub mod unit;
pub mod words;

pub use definition::{By, Limit, MAX_RULES, Rule, Rules, Shown};
pub use read::Mistakes;
pub use shipped::shipped;
pub use source::Source;
pub use words::Language;
