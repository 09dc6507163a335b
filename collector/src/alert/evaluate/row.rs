//! Rows as rules see them, wherever they are from.

use std::sync::Arc;

use wire::Histogram;

use crate::alert::finding::{End, Subject};
use crate::topology::EvidenceKind;

/// A value of a column, in the column's own unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell {
    /// Not known: the host cannot measure it.
    #[default]
    Absent,
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// Times.
    Histogram(Box<Histogram>),
}

/// A row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// By the columns of the input it is for.
    pub cells: Vec<Cell>,
    /// Of gauges, the largest value in the window where that is more than the newest.
    pub most: Vec<(usize, f64)>,
    /// End of the newest interval that told of it, Unix milliseconds.
    pub end_ms: i64,
    /// Host id, of whatever is no edge.
    pub host: String,
    /// Host name.
    pub hostname: String,
    /// Service.
    pub service: String,
    /// Of edges, what names them: the same in each input.
    pub ends: Option<Arc<Ends>>,
}

/// What names an edge, and what it rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ends {
    /// Who calls.
    pub client: End,
    /// Who is called.
    pub server: End,
    /// Address and port.
    pub endpoint: String,
    /// Address that was called, where it is not the server's.
    pub vip: Option<String>,
    /// Hosts that translate.
    pub gateways: Vec<String>,
    /// What joins both ends.
    pub evidence: Vec<EvidenceKind>,
    /// 0 to 1.
    pub confidence: f64,
    /// The flow of the declared matrix that says what it is: a [`Subject::Flow`].
    pub flow: Option<Arc<Subject>>,
}
