//! One answer of the host.

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It is there.
    Yes,
    /// It is not there.
    No {
        /// What was asked and answered, in an operator's words.
        why: String,
    },
    /// The question could not be asked.
    Unknown {
        /// What stood in the way.
        why: String,
    },
}

impl Fact {
    /// `No` with a reason.
    pub fn no(why: impl Into<String>) -> Self {
        Self::No { why: why.into() }
    }

    /// `Unknown` with a reason.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }

    /// `Yes`, or `No` with a reason.
    pub fn when(there: bool, why_not: impl Into<String>) -> Self {
        if there { Self::Yes } else { Self::no(why_not) }
    }

    /// True only for `Yes`.
    #[must_use]
    pub const fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }

    /// The reason, empty for `Yes`.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Yes => "",
            Self::No { why } | Self::Unknown { why } => why,
        }
    }
}

impl std::fmt::Display for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No { why } => write!(f, "no: {why}"),
            Self::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}
