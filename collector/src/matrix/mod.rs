//! The communication matrix: flows that were declared, held against what was seen.
//!
//! `read` makes flows of a file (CSV, XLSX, TOML), `held` holds them against an edge, `check` against
//! all that was seen, `learn` proposes flows from edges, `diff` compares two matrices, `write` makes
//! files of flows and of reports. Nothing here reads a store or a clock.
//!
//! Whether a flow means an edge has three answers: yes, no, and not known, for a service whose host
//! does not report has no name. What is not known is never counted as used or as undeclared.

mod check;
mod diff;
mod flow;
mod held;
mod learn;
mod read;
mod report;
mod seen;
mod selector;
mod template;
mod tri;
mod write;

pub use check::{Bounds, check};
pub use diff::{Changed, Difference, diff};
pub use flow::{Action, COLUMNS, Fields, Flow, MAX_FLOWS, Ports, Protocol};
pub use held::{Decided, Held};
pub use learn::{Learned, learn};
pub use read::{Declared, MAX_BYTES, Mistakes, read};
pub use report::{EdgeState, EdgeVerdict, FlowVerdict, Report, SeenEdge, Summary, Verdict, Why};
pub use seen::{Line, Seen, SeenHost, SeenNode};
pub use selector::Selector;
pub use template::template;
pub use write::{
    Form, flows as write_flows, reasons, report as write_report, sentence, state, verdict,
};
