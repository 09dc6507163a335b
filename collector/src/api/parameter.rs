//! What a parameter of an operation is, as data.

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it can be.
    pub kind: Kind,
    /// What it means.
    pub help: &'static str,
    /// What is meant without it.
    pub default: Option<&'static str>,
    /// Where it has to be given.
    pub need: Need,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// In the query, or not at all.
    Optional,
    /// In the query.
    Required,
    /// In the path.
    Path,
    /// In the query; another one has taken its place.
    Deprecated,
}

/// What a parameter can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A point in time, as [`crate::time::parse_point`] reads it.
    Time,
    /// Unix milliseconds.
    Milliseconds,
    /// A duration with a unit.
    Duration,
    /// Text of at most so many bytes.
    Text(usize),
    /// A whole number between two.
    Number(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
}

impl Parameter {
    /// An optional parameter.
    pub(super) const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            help,
            default: None,
            need: Need::Optional,
        }
    }

    /// With what is meant without it.
    pub(super) const fn or(self, default: &'static str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    /// With where it stands.
    pub(super) const fn at(self, need: Need) -> Self {
        Self { need, ..self }
    }
}

/// The window of a question.
pub(super) const WINDOW: [Parameter; 2] = [
    Parameter::new(
        "from",
        Kind::Time,
        "Begin, exclusive: an ISO 8601 time with its zone (`2026-01-02T03:04:05+02:00`), a Unix \
         time in seconds or milliseconds, a time before now (`-1h`, `90m`) or `now`. By default an \
         hour before the end.",
    ),
    Parameter::new(
        "to",
        Kind::Time,
        "End, inclusive, written like `from`; by default now.",
    ),
];

/// How old a topology may be.
pub(super) const MAX_AGE: [Parameter; 1] = [Parameter::new(
    "max_age",
    Kind::Duration,
    "An answer that was made before will do if it is no older, and the window may begin and end so \
     much later or earlier where that saves work: `from_ms` and `to_ms` say which window the answer \
     is of. With two minutes or more, those of an hour and of a day until now are there already. By \
     default it is made now, to the millisecond.",
)];

/// The names of those in a query that are not deprecated, for people.
pub(super) fn names(parameters: &[&[Parameter]]) -> String {
    let known = |p: &&Parameter| !matches!(p.need, Need::Path | Need::Deprecated);
    let all = parameters.iter().copied().flatten().filter(known);
    let names: Vec<_> = all.map(|parameter| parameter.name).collect();
    if names.is_empty() {
        return String::from("none");
    }
    names.join(", ")
}
