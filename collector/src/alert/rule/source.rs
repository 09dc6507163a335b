//! What rules read: the columns of edges, hosts, the collector itself, and of every table that
//! agents describe.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use wire::schema::{Kind, Shape, Table, Type};

pub use super::columns::{DECLARED, Values};
use super::columns::{EDGE, HOST, ROW};
use super::unit::{self, Unit};
use crate::metrics::Metrics;

/// Where the rows of a rule are from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Edges of the topology, joined or not.
    Edge,
    /// Hosts with an agent, and the agent's own counters.
    Host,
    /// The collector's own counters: one row.
    Collector,
    /// A table that is stored by its description.
    Table(String),
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub values: Values,
    /// Its unit.
    pub unit: Unit,
    /// What one of its numbers is in seconds, bytes or pieces.
    pub scale: f64,
    /// For people.
    pub help: String,
}

/// Prefix of the agent's counters among the columns of a host.
const COUNTER: &str = "counter.";
/// Most bytes of the name of one.
const MAX_COUNTER: usize = 80;

impl Source {
    /// The source of that name.
    ///
    /// # Errors
    /// A sentence that says which there are.
    pub fn of(name: &str) -> Result<Self, String> {
        match name {
            "edge" => return Ok(Self::Edge),
            "host" => return Ok(Self::Host),
            "collector" => return Ok(Self::Collector),
            _ => {}
        }
        let tables: Vec<&str> = tables().map(|table| table.name.as_str()).collect();
        if tables.contains(&name) {
            return Ok(Self::Table(String::from(name)));
        }
        Err(format!(
            "there is no {name:?}; there are edge, host, collector, {}",
            tables.join(", ")
        ))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Edge => "edge",
            Self::Host => "host",
            Self::Collector => "collector",
            Self::Table(name) => name,
        }
    }

    /// The family that it is of.
    #[must_use]
    pub fn family(&self) -> &'static str {
        match self {
            Self::Edge => "connection",
            Self::Host => "host",
            Self::Collector => "collector",
            Self::Table(name) => tables()
                .find(|table| table.name == *name)
                .map_or("", |table| table.family.as_str()),
        }
    }

    /// Its columns, but for the counters of hosts, of which there are as many as agents tell.
    #[must_use]
    pub fn columns(&self) -> &'static [Column] {
        static EDGES: OnceLock<Vec<Column>> = OnceLock::new();
        static HOSTS: OnceLock<Vec<Column>> = OnceLock::new();
        static OWN: OnceLock<Vec<Column>> = OnceLock::new();
        static TABLES: OnceLock<BTreeMap<&str, Vec<Column>>> = OnceLock::new();
        match self {
            Self::Edge => EDGES.get_or_init(edge),
            Self::Host => HOSTS.get_or_init(|| HOST.iter().map(own).collect()),
            Self::Collector => OWN.get_or_init(collector),
            Self::Table(name) => {
                let all = || tables().map(|table| (table.name.as_str(), of_table(table)));
                let known = TABLES.get_or_init(|| all().collect()).get(name.as_str());
                known.map_or(&[], Vec::as_slice)
            }
        }
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<Column> {
        if let (Self::Host, Some(counter)) = (self, name.strip_prefix(COUNTER)) {
            return counter_of_agent(counter);
        }
        self.columns()
            .iter()
            .find(|column| column.name == name)
            .cloned()
    }

    /// A sentence about a column that is not there.
    #[must_use]
    pub fn unknown(&self, name: &str) -> String {
        let columns = self.columns();
        let names = columns.iter().map(|column| column.name.as_str());
        let mut near: Vec<(usize, &str)> =
            names.map(|known| (distance(name, known), known)).collect();
        near.sort_unstable();
        let hint = match near.first() {
            Some((far, known)) if *far <= 2 => format!("; did you mean {known}?"),
            _ => String::new(),
        };
        let mut names: Vec<&str> = near.iter().map(|(_, known)| *known).collect();
        names.sort_unstable();
        let more = match self {
            Self::Host => ", and counter.NAME for each counter of agents",
            _ => "",
        };
        format!(
            "{} has no column {name:?}{hint}; there are {}{more}",
            self.name(),
            names.join(", ")
        )
    }

    /// By what its rows can be grouped, the first one by default; of a described table any of its
    /// dimensions.
    #[must_use]
    pub fn subjects(&self) -> &'static [&'static str] {
        match self {
            Self::Edge => &[
                "edge",
                "client",
                "server",
                "client_host",
                "server_host",
                "vip",
                "gateway",
                "flow",
                "all",
            ],
            Self::Host => &["host", "all"],
            Self::Collector => &["all"],
            Self::Table(_) => &["row", "service", "host", "all"],
        }
    }
}

/// Tables whose rows are stored by their description.
fn tables() -> impl Iterator<Item = &'static Table> {
    let typed = |table: &&'static Table| crate::query::shown_by(&table.name).is_none();
    wire::tables().into_iter().filter(typed)
}

fn own((name, values, unit, help): &(&str, Values, &str, &str)) -> Column {
    column(name, *values, unit, help)
}

fn column(name: &str, values: Values, unit: &str, help: &str) -> Column {
    // A unit that is not known here is one of pieces: it still cannot be mixed with times and bytes.
    let (unit, scale) = unit::parse(unit).unwrap_or((Unit::ONE, 1.0));
    Column {
        name: String::from(name),
        values,
        unit,
        scale,
        help: String::from(help),
    }
}

fn edge() -> Vec<Column> {
    let mut all: Vec<Column> = EDGE.iter().map(own).collect();
    let table = wire::tables()
        .into_iter()
        .find(|table| table.name == "edge");
    let columns = table.into_iter().flat_map(|table| &table.columns);
    for told in columns {
        let values = match told.kind {
            Kind::Counter => Values::Counter,
            Kind::Histogram => Values::Histogram,
            _ => continue,
        };
        for side in ["", "client.", "server."] {
            let name = format!("{side}{}", told.name);
            all.push(column(&name, values, &told.unit, &told.help));
        }
    }
    all
}

fn collector() -> Vec<Column> {
    let metrics = Metrics::default();
    let each = metrics.all().into_iter();
    each.map(|(name, kind, help, _)| {
        let values = match kind {
            "counter" => Values::Counter,
            _ => Values::Gauge,
        };
        let unit = match () {
            () if name.ends_with("_bytes") => "By",
            () if name.ends_with("_seconds") => "s",
            () => "",
        };
        column(name, values, unit, help.trim())
    })
    .collect()
}

/// Counters of agents are not listed anywhere that the collector could read: what ends in `_total`
/// rises.
fn counter_of_agent(name: &str) -> Option<Column> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || name.len() > MAX_COUNTER || !name.bytes().all(fits) {
        return None;
    }
    let values = match name.ends_with("_total") {
        true => Values::Counter,
        false => Values::Gauge,
    };
    let unit = match () {
        () if name.ends_with("_bytes") || name.ends_with("_bytes_total") => "By",
        () if name.ends_with("_ms_total") => "ms",
        () => "",
    };
    let full = format!("{COUNTER}{name}");
    Some(column(&full, values, unit, "A counter of the agent."))
}

fn of_table(table: &Table) -> Vec<Column> {
    let is_series = table.shape != Shape::Events;
    let mut all: Vec<Column> = ROW
        .iter()
        .map(|(name, help)| column(name, Values::Text, "", help))
        .collect();
    for told in &table.columns {
        if told.is_total() || told.is_since() || told.values == Type::Columns {
            continue;
        }
        let values = match (told.kind, &told.values) {
            (_, Type::Bool) => Values::Flag,
            (_, Type::Histogram) => Values::Histogram,
            (_, Type::Text | Type::Address | Type::Enum(_)) => Values::Text,
            (_, Type::Labels | Type::Counts | Type::Columns) => continue,
            (Kind::Counter, _) if is_series => Values::Counter,
            _ => Values::Gauge,
        };
        all.push(column(&told.name, values, &told.unit, &told.help));
    }
    all
}

/// How many letters must be changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut line: Vec<usize> = (0..=other.len()).collect();
    for (row, a) in one.chars().take(64).enumerate() {
        let mut before = line[0];
        line[0] = row + 1;
        for (at, b) in other.iter().enumerate() {
            let changed = before + usize::from(a != *b);
            before = line[at + 1];
            line[at + 1] = changed.min(line[at] + 1).min(before + 1);
        }
    }
    line.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Source, Values};
    use crate::alert::rule::unit::Unit;

    #[test]
    fn columns_are_those_of_the_descriptions() {
        let rtt = Source::Edge.column("server.rtt").expect("a column");
        assert_eq!((rtt.values, rtt.unit), (Values::Histogram, Unit::SECOND));
        assert!((rtt.scale - 1e-6).abs() < 1e-12);
        let table = Source::of("listener").expect("a table");
        assert_eq!(
            table.column("drops").map(|c| c.values),
            Some(Values::Counter)
        );
        assert!(table.column("local_port").is_some());
        let host = Source::Host;
        assert_eq!(
            host.column("counter.spool_depth").map(|c| c.values),
            Some(Values::Gauge)
        );
        assert!(host.column("counter.A").is_none());
        assert!(
            Source::Collector
                .column("ingest_rows_stored_total")
                .is_some()
        );
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let why = Source::Edge.unknown("faild");
        assert!(why.contains("did you mean failed?"), "{why}");
        assert!(why.contains("server.retransmits"), "{why}");
        assert!(Source::of("disk").expect_err("none").contains("listener"));
        // What the join reads is not stored row by row.
        assert!(Source::of("nat").is_err());
    }
}
