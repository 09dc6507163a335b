//! Holds rules against rows: pure, one pass over the rows of each window for all rules.
//!
//! ```text
//! rules --> Plan: which columns of which rows, which groups (shared by rules that group alike)
//! rows  --> Pass: numbers of each group --finish(usual, who reports)--> Evaluated
//! ```

mod compute;
mod group;
mod groups;
mod pass;
mod plan;
mod row;
mod subject;
mod verdict;

pub use compute::Context;
pub use groups::Reporting;
pub use pass::Pass;
pub use plan::{Input, Plan};
pub use row::{Cell, Ends, Row};
