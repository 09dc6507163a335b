//! Operations by which hosts get their certificates, and admins the tokens for that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Form, Operation, form};
use super::people::{BAD, CHANGES, Ended, ID};

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

/// `GET /api/v1/enrolments`
pub const ENROLMENTS: Operation = Operation {
    method: "GET",
    path: "/api/v1/enrolments",
    id: "enrolments",
    summary: "Tokens for enrolment that can be used now",
    help: "For admins.",
    parameters: &[],
    body: None,
    form: Form::Json(form::<Enrolments>),
    refusals: &[BAD, (429, "This peer asks as much at once as it may")],
    answer: None,
};

/// `POST /api/v1/enrolments`
pub const INVITE: Operation = Operation {
    method: "POST",
    path: "/api/v1/enrolments",
    id: "invite",
    summary: "Make a token with which a host gets its first certificate",
    help: "For admins. It is shown in this answer alone.",
    parameters: &[],
    body: Some(form::<Invite>),
    form: Form::Json(form::<Invited>),
    refusals: CHANGES,
    answer: None,
};

/// `DELETE /api/v1/enrolments/{id}`
pub const WITHDRAW: Operation = Operation {
    method: "DELETE",
    path: "/api/v1/enrolments/{id}",
    id: "withdrawInvitation",
    summary: "Make a token for enrolment void",
    help: "For admins. Certificates that came of it stay valid.",
    parameters: &[ID],
    body: None,
    form: Form::Json(form::<Ended>),
    refusals: CHANGES,
    answer: None,
};

/// Tokens for enrolment.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Enrolments {
    /// Whether this collector enrols anybody: it has an authority of its own.
    pub is_open: bool,
    /// Those that end first at the beginning.
    pub invited: Vec<InvitedShown>,
}

/// A token for enrolment, without its secret.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct InvitedShown {
    /// What names it.
    pub id: String,
    /// The name that the host will have.
    pub name: String,
    /// How often it can still be used.
    pub uses_left: u32,
    /// When it was made, Unix milliseconds.
    pub made_ms: i64,
    /// Until when, Unix milliseconds.
    pub expires_ms: i64,
    /// Who made it, as the audit log has it.
    pub actor: String,
}

/// A token for enrolment to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The host's name, which its certificate will have whatever the host asks for.
    pub name: String,
    /// How often it can be used, 1 to 1000; by default once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// For how long it can be used, such as `1h`, which is the default; at most `366d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
}

/// A token for enrolment that was made.
#[derive(Clone, JsonSchema, Serialize)]
pub struct Invited {
    /// The host's name.
    pub name: String,
    /// The token, which is shown this once.
    pub token: String,
    /// Until when, Unix milliseconds.
    pub expires_ms: i64,
}
