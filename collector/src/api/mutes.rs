//! Operations about what is not to be told: silences and maintenance windows.

use schemars::JsonSchema;
use serde::Serialize;

use super::alerts::{CHANGES, Removed};
use super::operation::{Form, Operation, form};
use super::parameter::{Kind, Need, Parameter};
use super::people::BAD;
use crate::alert::mute::{Maintenance, NewMaintenance, NewSilence, Silence};

/// The parameter with a number.
const ID: Parameter = Parameter::new(
    "id",
    Kind::Number(1, i64::MAX.unsigned_abs()),
    "Its `id`, as the list has it.",
)
.at(Need::Path);

/// One of these operations.
const fn operation(
    (method, path): (&'static str, &'static str),
    (id, summary): (&'static str, &'static str),
) -> Operation {
    Operation {
        method,
        path,
        id,
        summary,
        help: "",
        parameters: &[],
        body: None,
        form: Form::Json(form::<Removed>),
        refusals: CHANGES,
        answer: None,
    }
}

/// `GET /api/v1/silences`
pub const SILENCES: Operation = Operation {
    form: Form::Json(form::<Silences>),
    refusals: &[BAD],
    help: "Also those that are over, for as long as alerts are kept.",
    ..operation(
        ("GET", "/api/v1/silences"),
        ("silences", "Alerts that are not told for a while"),
    )
};

/// `POST /api/v1/silences`
pub const ADD_SILENCE: Operation = Operation {
    body: Some(form::<NewSilence>),
    form: Form::Json(form::<Silence>),
    help: "Alerts that meet all of its matchers are found and shown as ever, and not told. What \
           still fires when it ends is told then.",
    ..operation(
        ("POST", "/api/v1/silences"),
        ("addSilence", "Silence alerts for a while"),
    )
};

/// `PUT /api/v1/silences/{id}`
pub const CHANGE_SILENCE: Operation = Operation {
    parameters: &[&[ID]],
    body: Some(form::<NewSilence>),
    form: Form::Json(form::<Silence>),
    ..operation(
        ("PUT", "/api/v1/silences/{id}"),
        ("changeSilence", "Put another silence in its place"),
    )
};

/// `DELETE /api/v1/silences/{id}`
pub const END_SILENCE: Operation = Operation {
    parameters: &[&[ID]],
    ..operation(
        ("DELETE", "/api/v1/silences/{id}"),
        ("endSilence", "End a silence"),
    )
};

/// `GET /api/v1/maintenance`
pub const MAINTENANCE: Operation = Operation {
    form: Form::Json(form::<Windows>),
    refusals: &[BAD],
    ..operation(
        ("GET", "/api/v1/maintenance"),
        (
            "maintenance",
            "Times of every week in which alerts are not told",
        ),
    )
};

/// `POST /api/v1/maintenance`
pub const ADD_MAINTENANCE: Operation = Operation {
    body: Some(form::<NewMaintenance>),
    form: Form::Json(form::<Maintenance>),
    ..operation(
        ("POST", "/api/v1/maintenance"),
        ("addMaintenance", "Make a maintenance window"),
    )
};

/// `PUT /api/v1/maintenance/{id}`
pub const CHANGE_MAINTENANCE: Operation = Operation {
    parameters: &[&[ID]],
    body: Some(form::<NewMaintenance>),
    form: Form::Json(form::<Maintenance>),
    ..operation(
        ("PUT", "/api/v1/maintenance/{id}"),
        (
            "changeMaintenance",
            "Put another maintenance window in its place",
        ),
    )
};

/// `DELETE /api/v1/maintenance/{id}`
pub const REMOVE_MAINTENANCE: Operation = Operation {
    parameters: &[&[ID]],
    ..operation(
        ("DELETE", "/api/v1/maintenance/{id}"),
        ("removeMaintenance", "Remove a maintenance window"),
    )
};

/// Silences.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Silences {
    /// The newest first.
    pub silences: Vec<Silence>,
}

/// Maintenance windows.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Windows {
    /// The newest first.
    pub windows: Vec<Maintenance>,
}
