//! The communication matrix that is declared here: which flows it has, its versions, and files of it.

use std::io::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::failure::{Failure, Problem};
use super::matrix::{LEAST_CONFIDENCE, NONE_DECLARED, learned_flows, report};
use super::operation::{Asking, Form, Operation, form};
use super::parameter::{Kind, Parameter, WINDOW};
use crate::matrix::{self, Fields, Flow};

/// `GET /api/v1/matrix`
pub const MATRIX: Operation = Operation {
    method: "GET",
    path: "/api/v1/matrix",
    id: "matrix",
    summary: "The declared communication matrix, and its versions",
    help: "Without a `version` the newest one, which is in force. Where nothing was declared yet, \
           `declared` is null.",
    parameters: &[&[
        VERSION,
        Parameter::new(
            "rows",
            Kind::Flag,
            "With its flows, and not its version alone.",
        )
        .or("true"),
    ]],
    body: None,
    form: Form::Json(form::<Matrix>),
    refusals: &[
        (400, "A parameter that is unknown or cannot be used"),
        (404, "There is no such version, or not any more"),
        (429, "This peer asks as much at once as it may"),
    ],
    answer: None,
};

/// `PUT /api/v1/matrix`
pub const DECLARE: Operation = Operation {
    method: "PUT",
    path: "/api/v1/matrix",
    id: "declareMatrix",
    summary: "Declare a communication matrix, in the place of the one that is in force",
    help: "For operators. The body is the matrix, as for `matrix/check`; it is taken whole or not at \
           all. Older versions are kept: the last 50, up to 64 MiB packed.",
    parameters: &[&[
        Parameter::new("note", Kind::Text(500), "What is said of it."),
        Parameter::new(
            "base",
            Kind::Number(0, MOST_VERSION),
            "The version that it was made from, 0 for none: refused where another one is in force \
             by now.",
        ),
    ]],
    body: None,
    form: Form::Json(form::<VersionShown>),
    refusals: &[
        (
            400,
            "A parameter that cannot be used, or mistakes in the matrix, all of them",
        ),
        (408, "The matrix did not arrive in time"),
        (409, "Another version than `base` is in force"),
        (413, "The matrix is too long"),
        (429, "This peer changes as much as it may at once"),
    ],
    answer: None,
};

/// `POST /api/v1/matrix/report`
pub const MATRIX_REPORT: Operation = Operation {
    method: "POST",
    path: "/api/v1/matrix/report",
    id: "matrix_report",
    summary: "What `matrix/check` finds, as a file",
    help: "The body is the matrix, as for `matrix/check`; without one it is the declared one.",
    parameters: &[
        &WINDOW,
        &[
            LEAST_CONFIDENCE,
            Parameter::new(
                "limit",
                Kind::Number(0, 20_000),
                "Most edges that are told one by one; the report counts the others.",
            )
            .or("5000"),
            Parameter::new(
                "form",
                Kind::Choice(&["xlsx", "csv", "html", "json"]),
                "A workbook, comma-separated values, a page to print, or JSON.",
            )
            .or("xlsx"),
        ],
    ],
    body: None,
    form: Form::File(&["xlsx", "csv", "html", "json"]),
    refusals: &[
        NONE_DECLARED,
        (413, "The matrix is too long"),
        (408, "The matrix did not arrive in time"),
    ],
    answer: Some(write_report),
};

/// `GET /api/v1/matrix/file`
pub const MATRIX_FILE: Operation = Operation {
    method: "GET",
    path: "/api/v1/matrix/file",
    id: "matrix_file",
    summary: "A communication matrix as a file that can be declared again",
    help: "A template with an example of each kind, the declared matrix, or one that allows what was \
           seen in the window.",
    parameters: &[
        &WINDOW,
        &[
            LEAST_CONFIDENCE,
            VERSION,
            Parameter::new(
                "of",
                Kind::Choice(&["template", "declared", "learned"]),
                "Which matrix.",
            )
            .or("declared"),
            Parameter::new(
                "form",
                Kind::Choice(&["xlsx", "csv", "toml"]),
                "A workbook, comma-separated values, or TOML.",
            )
            .or("xlsx"),
        ],
    ],
    body: None,
    form: Form::File(&["xlsx", "csv", "toml"]),
    refusals: &[NONE_DECLARED],
    answer: Some(write_file),
};

/// The greatest number of a version: what a browser counts to exactly.
const MOST_VERSION: u64 = 1 << 53;

const VERSION: Parameter = Parameter::new(
    "version",
    Kind::Number(1, MOST_VERSION),
    "A version of the declared matrix; by default the newest.",
);

/// The declared matrix.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Matrix {
    /// What is declared; `null`: nothing is.
    pub declared: Option<Declared>,
    /// Every version that is kept, the newest first.
    pub versions: Vec<VersionShown>,
}

/// One version of it.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[schemars(rename = "DeclaredMatrix")]
pub struct Declared {
    /// Which.
    #[serde(flatten)]
    pub version: VersionShown,
    /// Its flows, in the order of the file; none where they were not asked for.
    pub rows: Vec<FlowShown>,
    /// What was in the file and means nothing here.
    pub notes: Vec<String>,
}

/// A version of the declared matrix.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[schemars(rename = "MatrixVersion")]
pub struct VersionShown {
    /// Grows with each.
    pub version: i64,
    /// When it was declared, Unix milliseconds.
    pub at_ms: i64,
    /// By whom, as the audit log has it.
    pub actor: String,
    /// What is said of it.
    pub note: String,
    /// Flows in it.
    pub flows: u32,
}

/// A declared flow, as it is written.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[schemars(rename = "DeclaredFlow")]
pub struct FlowShown {
    /// Its `id`, else its line.
    pub id: String,
    /// Its line in the file.
    pub line: u64,
    /// Who begins connections.
    pub source: String,
    /// Who accepts them.
    pub destination: String,
    /// At which ports.
    pub port: String,
    /// Over which protocol.
    pub protocol: String,
    /// `allow` or `deny`; nothing means `allow`.
    pub action: String,
    /// Whose it is.
    pub owner: String,
    /// Up to when.
    pub valid_until: String,
    /// What is said of it.
    pub comment: String,
}

impl From<Flow> for FlowShown {
    fn from(flow: Flow) -> Self {
        let text = flow.text;
        Self {
            id: flow.id,
            line: flow.line,
            source: text.source,
            destination: text.destination,
            port: text.port,
            protocol: text.protocol,
            action: text.action,
            owner: text.owner,
            valid_until: text.valid_until,
            comment: text.comment,
        }
    }
}

/// Answers [`MATRIX_REPORT`].
///
/// # Errors
/// A matrix with mistakes, and those of the store.
fn write_report(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let report = report(asking)?;
    written(|| matrix::write_report(out, form_of(asking), &report))
}

/// Answers [`MATRIX_FILE`].
///
/// # Errors
/// Those of the store.
fn write_file(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let fields: Vec<Fields> = match asking.given.text("of") {
        Some("template") => matrix::template(),
        Some("learned") => learned_flows(asking)?,
        _ => {
            let declared = matrix::read(asking.given.body());
            let declared = declared.map_err(|why| Problem::query(format!("the matrix: {why}")))?;
            declared.flows.into_iter().map(|flow| flow.text).collect()
        }
    };
    written(|| matrix::write_flows(out, form_of(asking), &fields))
}

fn form_of(asking: &Asking<'_>) -> matrix::Form {
    let form = asking.given.text("form").and_then(matrix::Form::of_word);
    form.unwrap_or(matrix::Form::Json)
}

/// What cannot be written has met the bound of answers.
fn written(write: impl FnOnce() -> anyhow::Result<()>) -> Result<(), Failure> {
    write().map_err(|error| Failure::Unwritten(std::io::Error::other(error)))
}
