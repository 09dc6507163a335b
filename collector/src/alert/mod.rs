//! What is wrong: rules as data, what they find, and what becomes of it.
//!
//! ```text
//! slices that are joined, tables, hosts --> evaluate(rules, ., usual) --> findings --> state
//! ```

pub mod catalogue;
pub mod finding;
pub mod group;
pub mod keeper;
pub mod labels;
pub mod mute;
pub mod notify;
pub mod outputs;
pub mod state;
pub mod store;

pub use finding::{
    End, Evaluated, Finding, RuleName, Said, Severity, Span, Subject, Terms, Unjudged, Usual,
};
