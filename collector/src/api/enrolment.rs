//! Operations by which hosts get their certificates.

use schemars::JsonSchema;

use super::operation::{Form, Operation, form};

/// `POST /api/v1/enroll`
pub const ENROLL: Operation = Operation {
    method: "POST",
    path: wire::enrol::ENROLL_PATH,
    id: "enroll",
    summary: "A host's first certificate",
    help: "The body is JSON with a `token` of `waybill-collector enroll token` and a `csr` (PKCS #10, \
           PEM), of which only the public key is taken.",
    parameters: &[],
    body: None,
    form: Form::Json(form::<Certificate>),
    refusals: REFUSALS,
    answer: None,
};

/// `POST /api/v1/renew`
pub const RENEW: Operation = Operation {
    method: "POST",
    path: wire::enrol::RENEW_PATH,
    id: "renew",
    summary: "A host's next certificate",
    help: "Asked with the certificate that is to be replaced. The body is JSON with a `csr`.",
    parameters: &[],
    body: None,
    form: Form::Json(form::<Certificate>),
    refusals: REFUSALS,
    answer: None,
};

const REFUSALS: &[(u16, &str)] = &[
    (
        400,
        "The request cannot be read, or asks for what is not given",
    ),
    (403, "The token is unknown, used or expired"),
    (404, "This collector enrolls nobody"),
    (415, "The request is not JSON"),
];

/// A certificate that was made: the form of [`wire::enrol::Certificate`].
#[derive(JsonSchema)]
#[expect(dead_code, reason = "its form is what counts")]
struct Certificate {
    /// The name in it.
    name: String,
    /// The certificate and its authority's, PEM.
    certificate: String,
    /// When it was made, Unix milliseconds.
    issued_ms: i64,
    /// Until when it is valid, Unix milliseconds.
    expires_ms: i64,
}
