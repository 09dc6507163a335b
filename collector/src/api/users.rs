//! Operations of admins about local users.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Form, Operation, form};
use super::parameter::{Kind, Need, Parameter};
use super::people::{CHANGES, Ended};
use crate::rank::Rank;

/// `GET /api/v1/users`
pub const USERS: Operation = Operation {
    method: "GET",
    path: "/api/v1/users",
    id: "users",
    summary: "Local users",
    help: "For admins.",
    parameters: &[],
    body: None,
    form: Form::Json(form::<Users>),
    refusals: &[(400, "It takes no parameters")],
    answer: None,
};

/// `POST /api/v1/users`
pub const ADD_USER: Operation = Operation {
    method: "POST",
    path: "/api/v1/users",
    id: "addUser",
    summary: "Add a local user",
    help: "For admins. Without a `password` one is made, and shown in this answer alone.",
    parameters: &[],
    body: Some(form::<AddUser>),
    form: Form::Json(form::<UserChanged>),
    refusals: CHANGES,
    answer: None,
};

/// `PATCH /api/v1/users/{name}`
pub const CHANGE_USER: Operation = Operation {
    method: "PATCH",
    path: "/api/v1/users/{name}",
    id: "changeUser",
    summary: "Change a local user",
    help: "For admins. What is not named stays. The sessions of a user who has changed end at once. \
           Nobody disables or changes the role of oneself.",
    parameters: &[NAME],
    body: Some(form::<ChangeUser>),
    form: Form::Json(form::<UserChanged>),
    refusals: CHANGES,
    answer: None,
};

/// `DELETE /api/v1/users/{name}`
pub const REMOVE_USER: Operation = Operation {
    method: "DELETE",
    path: "/api/v1/users/{name}",
    id: "removeUser",
    summary: "Remove a local user, with sessions and tokens",
    help: "For admins. Nobody removes oneself.",
    parameters: &[NAME],
    body: None,
    form: Form::Json(form::<Ended>),
    refusals: CHANGES,
    answer: None,
};

const NAME: &[Parameter] =
    &[Parameter::new("name", Kind::Text(128), "The user's name.").at(Need::Path)];

/// A user to add.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddUser {
    /// Its name: letters, digits and `.` `_` `@` `+` `-`, kept in small letters.
    pub name: String,
    /// What it may do.
    pub role: Rank,
    /// Its password, of at least 12 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// What of a user to change.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeUser {
    /// What it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Rank>,
    /// Whether it may do nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_disabled: Option<bool>,
    /// Its password, of at least 12 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Another password is made, and shown in this answer alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub make_password: Option<bool>,
}

/// A user that was added or changed.
#[derive(Clone, JsonSchema, Serialize)]
pub struct UserChanged {
    /// Its name.
    pub name: String,
    /// The password that was made for it.
    pub password: Option<String>,
    /// Number of its sessions that were ended.
    pub sessions_ended: u32,
}

/// Local users.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Users {
    /// By name.
    pub users: Vec<UserShown>,
}

/// A local user.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct UserShown {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Rank,
    /// It may do nothing.
    pub is_disabled: bool,
    /// Since when there is this user, Unix milliseconds.
    pub made_ms: i64,
    /// Since when its password is this one, Unix milliseconds.
    pub password_ms: i64,
    /// When it last logged in, Unix milliseconds; `null`: never.
    pub login_ms: Option<i64>,
    /// Number of sessions that go on.
    pub sessions: u32,
    /// Number of tokens that are valid.
    pub tokens: u32,
}
