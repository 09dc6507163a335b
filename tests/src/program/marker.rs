//! The word by which a binary knows that it is to be one of the programs.

/// First argument by which a binary knows that it runs as one of the lab's programs.
pub const MARKER: &str = "lab-program";
