//! The form of a description in documents: that of [`wire::schema::Table`], which stays free of
//! what only the API needs. The suite holds descriptions of real tables to it.

use schemars::JsonSchema;

/// A table of a family.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "its form is what counts")]
pub(super) struct Table {
    /// Unique among all tables.
    name: String,
    /// The family that it belongs to.
    family: String,
    /// Rises with each column that is added.
    version: u16,
    /// What its rows are.
    shape: Shape,
    /// One line for people.
    help: String,
    /// In the order in which they are documented.
    columns: Vec<Column>,
}

/// What the rows of a table are.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "its form is what counts")]
enum Shape {
    /// Counters and histograms per combination of dimensions.
    Series,
    /// One row for each thing that happened, with its time.
    Events,
    /// Evidence that ends belong together.
    Links,
    /// What holds for an entity until another row tells of it.
    State,
}

/// One column of a table.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "its form is what counts")]
struct Column {
    /// Its name.
    name: String,
    /// What it means.
    kind: Kind,
    /// What it can hold.
    r#type: Type,
    /// As UCUM writes it; not there without one.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// One line for people.
    help: String,
    /// The table's version that brought it; not there for the first.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    since: Option<u16>,
    /// Its bit in the column of type `columns`.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    absent: Option<u8>,
}

/// What a column means.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "its form is what counts")]
enum Kind {
    Dimension,
    Counter,
    Gauge,
    Histogram,
    Text,
    Address,
    Time,
}

/// What a column can hold.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "its form is what counts")]
enum Type {
    Bool,
    U8,
    U16,
    U32,
    U64,
    Enum(Vec<String>),
    Columns,
    Text,
    Address,
    Histogram,
    Labels,
    Counts,
}
