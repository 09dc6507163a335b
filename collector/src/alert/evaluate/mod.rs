//! Holds rules against rows: pure, one pass over the rows of each window for all rules.
//!
//! ```text
//! rules --> Plan: which columns of which rows, which groups (shared by rules that group alike)
//! rows  --> Pass: numbers of each group --finish(usual, who reports)--> Evaluated
//! ```

mod compute;
mod group;
mod pass;
mod plan;
mod row;
mod subject;

pub use compute::Context;
pub use pass::{Pass, Reporting};
pub use plan::{Input, Plan};
pub use row::{Cell, Ends, Row};
