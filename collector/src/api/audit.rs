//! The audit log, for admins.

use super::operation::{Form, Operation, form};
use super::parameter::{Kind, Parameter};
use crate::access::AuditLog;

/// `GET /api/v1/audit`
pub const AUDIT: Operation = Operation {
    method: "GET",
    path: "/api/v1/audit",
    id: "audit",
    summary: "Who changed what, the last first",
    help: "For admins. What is older than the last record of an answer is asked for with its `id` as \
           `before_id`.",
    parameters: &[&[
        Parameter::new("from", Kind::Time, "Begin; by default the oldest record."),
        Parameter::new("to", Kind::Time, "End, exclusive; by default now."),
        Parameter::new(
            "before_id",
            Kind::Number(1, i64::MAX.unsigned_abs()),
            "Records before this one.",
        ),
        Parameter::new("limit", Kind::Number(1, 10_000), "Most records.").or("1000"),
    ]],
    body: None,
    form: Form::Json(form::<AuditLog>),
    refusals: &[
        (400, "A parameter that is unknown or cannot be used"),
        (
            429,
            "This peer asks as much at once as may be left for all others",
        ),
    ],
    answer: None,
};
