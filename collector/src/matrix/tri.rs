//! Answers that may be "not known".

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    /// It is not.
    No,
    /// What was seen does not say.
    Unknown,
    /// It is.
    Yes,
}

impl Known {
    /// Of something that is known.
    pub(super) const fn of(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        self.min(other)
    }

    /// One of the two at least.
    pub(super) fn or(self, other: Self) -> Self {
        self.max(other)
    }

    /// Of several things of which one is the one that counts, and which is not known: where all say
    /// the same, that; nothing known without any.
    pub(super) fn same(all: impl IntoIterator<Item = Self>) -> Self {
        let mut all = all.into_iter();
        let Some(first) = all.next() else {
            return Self::Unknown;
        };
        if all.all(|one| one == first) {
            first
        } else {
            Self::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Known::{self, No, Unknown, Yes};

    #[test]
    fn what_is_not_known_decides_nothing() {
        assert_eq!(Yes.and(Unknown), Unknown);
        assert_eq!(No.and(Unknown), No);
        assert_eq!(Yes.or(Unknown), Yes);
        assert_eq!(No.or(Unknown), Unknown);
        assert_eq!(Known::same([Yes, Yes]), Yes);
        assert_eq!(Known::same([Yes, No]), Unknown);
        assert_eq!(Known::same([]), Unknown);
    }
}
