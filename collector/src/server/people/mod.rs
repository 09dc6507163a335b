//! People: who asks, by what that is known, and what they change of themselves and of each other.

mod cookie;
mod identity;
mod invitations;
mod login;
mod origin;
mod own;
mod password;
mod person;
mod proxy;
mod refusals;
mod tokens;
mod users;

pub(super) use identity::{Found, Sent, find};
pub(super) use invitations::{enrolments, invite, withdraw};
pub(super) use login::{login, logout};
pub(super) use origin::check as check_origin;
pub(super) use own::{change_password, end_session, sessions, whoami};
pub(super) use person::Person;
pub(super) use tokens::{add_token, revoke_token, tokens};
pub(super) use users::{add_user, change_user, remove_user, users};
