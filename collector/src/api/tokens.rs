//! Operations of people about tokens of theirs, with which programs ask in their name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Form, Operation, form};
use super::people::{ALL, BAD, CHANGES, Ended, ID};
use crate::rank::Rank;

/// `GET /api/v1/tokens`
pub const TOKENS: Operation = Operation {
    method: "GET",
    path: "/api/v1/tokens",
    id: "tokens",
    summary: "One's own tokens; those of all users, to admins",
    help: "Tokens of the configuration are not among them.",
    parameters: &[ALL],
    body: None,
    form: Form::Json(form::<Tokens>),
    refusals: &[BAD],
    answer: None,
};

/// `POST /api/v1/tokens`
pub const ADD_TOKEN: Operation = Operation {
    method: "POST",
    path: "/api/v1/tokens",
    id: "addToken",
    summary: "Make a token of one's own",
    help: "For local users by a session: a token makes no tokens. It is shown in this answer alone, \
           and may at most what its user may.",
    parameters: &[],
    body: Some(form::<AddToken>),
    form: Form::Json(form::<TokenMade>),
    refusals: CHANGES,
    answer: None,
};

/// `DELETE /api/v1/tokens/{id}`
pub const REVOKE_TOKEN: Operation = Operation {
    method: "DELETE",
    path: "/api/v1/tokens/{id}",
    id: "revokeToken",
    summary: "Revoke one of one's own tokens; that of any user, to admins",
    help: "",
    parameters: &[ID],
    body: None,
    form: Form::Json(form::<Ended>),
    refusals: CHANGES,
    answer: None,
};

/// A token to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddToken {
    /// What it is for: up to 64 characters, unique among the user's own.
    pub name: String,
    /// What it may do; by default to read (`viewer`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Rank>,
    /// For how long it is valid, such as `90d`, which is the default; at most `366d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
}

/// A token that was made.
#[derive(Clone, JsonSchema, Serialize)]
pub struct TokenMade {
    /// What names it.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Rank,
    /// Until when it is valid, Unix milliseconds.
    pub expires_ms: i64,
    /// The token, which is shown this once.
    pub token: String,
}

/// Tokens.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Tokens {
    /// By user and name.
    pub tokens: Vec<TokenShown>,
}

/// A token.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct TokenShown {
    /// What names it.
    pub id: String,
    /// Whose.
    pub user: String,
    /// What it is for.
    pub name: String,
    /// What it may do now: the least of its own role and that of its user.
    pub role: Rank,
    /// When it was made, Unix milliseconds.
    pub made_ms: i64,
    /// Until when it is valid, Unix milliseconds.
    pub expires_ms: i64,
    /// When it was last used, to the minute, Unix milliseconds; `null`: never.
    pub used_ms: Option<i64>,
}
