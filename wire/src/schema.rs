//! What a table is, described by values: the columns of a batch, their documentation and whatever a
//! reader needs to store a table that it has no struct for.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Most columns of a table.
pub const MAX_COLUMNS: usize = 128;
/// Most bytes of the name of a table, column or unit.
pub const MAX_NAME: usize = 64;
/// Most bytes of a line of help.
pub const MAX_HELP: usize = 512;
/// Most values that an enumeration names.
const MAX_CHOICES: usize = 256;

/// What the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Counters and histograms per combination of dimensions.
    Series,
    /// One row for each thing that happened, with its time.
    Events,
    /// Evidence that ends belong together.
    Links,
    /// What holds for an entity until another row tells of it.
    State,
}

/// What a column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Part of what a row is about.
    Dimension,
    /// Only rises; rows of a series add up.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts per bucket, and the sum of all values.
    Histogram,
    /// Words for people.
    Text,
    /// An IP address.
    Address,
    /// A time; its unit says since when.
    Time,
}

/// The values that a column can hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// A number below that of its names, which say what each value means.
    Enum(Vec<String>),
    /// A set of columns of the same table: bit `n` is the column with `absent` = `n`.
    Columns,
    /// UTF-8.
    Text,
    /// 16 bytes: IPv6, or IPv4 mapped into `::ffff:0:0/96`.
    Address,
    /// [`crate::Histogram`].
    Histogram,
    /// Pairs of key and value, both UTF-8.
    Labels,
    /// Pairs of a name and a counter.
    Counts,
}

/// One column of a [`Table`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Lower case, `[a-z0-9_]`.
    pub name: String,
    /// What it means.
    pub kind: Kind,
    /// What it can hold.
    #[serde(rename = "type")]
    pub values: Type,
    /// As UCUM writes it (`By`, `ms`, `{segment}`); empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// One line for people.
    pub help: String,
    /// The table's version that brought it; in rows of an older one it is zero or empty.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub since: u16,
    /// Bit in the column of type [`Type::Columns`] that says of a row: the host could not measure
    /// this, and the number means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<u8>,
}

/// A table of a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Lower case, `[a-z0-9_]`, unique among all tables.
    pub name: String,
    /// The family that it belongs to.
    pub family: String,
    /// Rises with each column that is added.
    pub version: u16,
    /// What its rows are.
    pub shape: Shape,
    /// One line for people.
    pub help: String,
    /// In the order in which they are documented.
    pub columns: Vec<Column>,
}

const fn first() -> u16 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_first(since: &u16) -> bool {
    *since == first()
}

impl Type {
    /// Bits of a number; `None` for what is no number.
    #[must_use]
    pub const fn bits(&self) -> Option<u32> {
        match self {
            Self::Bool | Self::U8 | Self::Enum(_) => Some(8),
            Self::U16 | Self::Columns => Some(16),
            Self::U32 => Some(32),
            Self::U64 => Some(64),
            Self::Text | Self::Address | Self::Histogram | Self::Labels | Self::Counts => None,
        }
    }

    /// The largest number that the column holds, 0 for what is no number.
    #[must_use]
    pub fn max(&self) -> u64 {
        match self {
            Self::Bool => 1,
            Self::Enum(names) => (names.len() as u64).saturating_sub(1),
            other => other.bits().map_or(0, |bits| u64::MAX >> (64 - bits)),
        }
    }

    /// The word for it in the documentation.
    fn word(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::Enum(_) => "enum",
            Self::Columns => "columns",
            Self::Text => "text",
            Self::Address => "address",
            Self::Histogram => "histogram",
            Self::Labels => "labels",
            Self::Counts => "counts",
        }
    }
}

impl Column {
    /// Whether it says of a row of a series that its counters are totals, and not what the interval
    /// added.
    #[must_use]
    pub fn is_total(&self) -> bool {
        self.name == "total" && self.values == Type::Bool
    }

    /// Whether it says when a series began, Unix milliseconds.
    #[must_use]
    pub fn is_since(&self) -> bool {
        self.name == "since_ms" && self.kind == Kind::Time && self.values == Type::U64
    }
}

impl Table {
    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether a table that only a sender knows stays within the bounds; says what does not.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn check(&self) -> Result<(), String> {
        for name in [&self.name, &self.family] {
            check_name(name)?;
        }
        if self.columns.is_empty() || self.columns.len() > MAX_COLUMNS {
            return Err(format!("table of {} columns", self.columns.len()));
        }
        check_help(&self.help)?;
        for (at, column) in self.columns.iter().enumerate() {
            check_name(&column.name)?;
            check_help(&column.help)?;
            if column.unit.len() > MAX_NAME {
                return Err(format!("unit of {} is too long", column.name));
            }
            if let Type::Enum(names) = &column.values
                && (names.is_empty()
                    || names.len() > MAX_CHOICES
                    || names.iter().any(|name| name.len() > MAX_NAME))
            {
                return Err(format!("names of {} are out of bounds", column.name));
            }
            if self.columns[..at]
                .iter()
                .any(|other| other.name == column.name)
            {
                return Err(format!("column {} comes twice", column.name));
            }
        }
        Ok(())
    }

    /// The table as Markdown, for the documentation.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!(
            "### {}\n\nFamily `{}`, version {}, {}: {}\n\n",
            self.name,
            self.family,
            self.version,
            format!("{:?}", self.shape).to_lowercase(),
            self.help
        );
        out.push_str("| column | type | kind | unit | what |\n|---|---|---|---|---|\n");
        for column in &self.columns {
            let mut what = column.help.replace('|', "\\|");
            if let Type::Enum(names) = &column.values {
                let names: Vec<_> = names
                    .iter()
                    .enumerate()
                    .map(|(n, name)| format!("{n} {name}"))
                    .collect();
                let _ = write!(what, " Values: {}.", names.join(", "));
            }
            if let Some(bit) = column.absent {
                let _ = write!(what, " Bit {bit} of `absent`.");
            }
            if column.since > 1 {
                let _ = write!(what, " Since version {}.", column.since);
            }
            let kind = format!("{:?}", column.kind).to_lowercase();
            let unit = if column.unit.is_empty() {
                String::new()
            } else {
                format!("`{}`", column.unit)
            };
            let _ = writeln!(
                out,
                "| `{}` | {} | {kind} | {unit} | {what} |",
                column.name,
                column.values.word()
            );
        }
        out
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(fits) {
        return Err(String::from(
            "name with other letters than a-z, 0-9 and _, or too long",
        ));
    }
    Ok(())
}

fn check_help(help: &str) -> Result<(), String> {
    if help.len() > MAX_HELP || help.contains(char::is_control) {
        return Err(String::from("help that is too long or more than a line"));
    }
    Ok(())
}

/// The first sentence of doc comments.
pub(crate) fn first_sentence(lines: &[&str]) -> String {
    let mut help = String::new();
    for line in lines {
        let line = line.trim();
        if !help.is_empty() && !line.is_empty() {
            help.push(' ');
        }
        help.push_str(line);
        if line.is_empty() || line.ends_with('.') {
            break;
        }
    }
    help
}
