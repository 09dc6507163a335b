//! What is not as planned.

/// What families say of themselves in the host row and the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Name and decision with its reason, where that is not as planned.
    pub plan: Vec<(String, String)>,
    /// Peers towards which the option is off, and why.
    pub paths_off: Vec<(String, String)>,
}
