//! What is wrong: rules as data, what they find, and what becomes of it.
//!
//! ```text
//! slices that are joined, tables, hosts --> evaluate(rules, ., usual) --> findings --> state
//! ```

pub mod finding;

pub use finding::{
    End, Evaluated, Finding, RuleName, Said, Severity, Span, Subject, Terms, Unjudged, Usual,
};
