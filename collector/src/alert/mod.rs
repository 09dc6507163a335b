//! What is wrong: rules as data, what they find, and what becomes of it.
//!
//! ```text
//! edges, tables, hosts --rows--> evaluate (rules, usual) --> findings --> state
//!                                   baseline --usual--^
//! ```

pub mod baseline;
pub mod catalogue;
pub mod evaluate;
pub mod finding;
pub mod folder;
pub mod group;
pub mod judge;
pub mod keeper;
pub mod labels;
pub mod look;
pub mod mute;
pub mod notify;
pub mod outputs;
pub mod rule;
pub mod sentence;
pub mod state;
pub mod store;
pub mod trial;

pub use finding::{
    End, Evaluated, Finding, RuleName, Said, Severity, Span, Subject, Terms, Unjudged, Usual,
};
