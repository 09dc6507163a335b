//! Who may use a route.

use crate::accept::{Reason, Refusal};
use crate::api;
use crate::auth::Role;
use crate::rank::Rank;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Whoever can connect: it says nothing about the fleet.
    Anybody,
    /// Credentials of [`Role::Agent`].
    Agents,
    /// People of any rank.
    Readers,
    /// People of rank [`Rank::Operator`] or more.
    Operators,
    /// People of rank [`Rank::Admin`].
    Admins,
}

impl Scope {
    /// Whose credentials are let in; `None` where none is needed.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Anybody => None,
            Self::Agents => Some(api::AGENTS),
            Self::Readers => Some("readers"),
            Self::Operators => Some("operators"),
            Self::Admins => Some("admins"),
        }
    }
}

/// Whether a role is let in where a scope is.
pub(super) fn permit(role: Role, scope: Scope) -> Result<(), Refusal> {
    let why = match (scope, role) {
        (Scope::Anybody, _)
        | (Scope::Agents, Role::Agent)
        | (Scope::Readers, Role::Person(_))
        | (Scope::Operators, Role::Person(Rank::Operator | Rank::Admin))
        | (Scope::Admins, Role::Person(Rank::Admin)) => return Ok(()),
        (Scope::Agents, Role::Person(_)) => "this credential asks and does not send batches",
        (Scope::Readers | Scope::Operators | Scope::Admins, Role::Agent) => {
            "this credential sends batches and does not ask: people log in, or have a token of [auth] \
             reader_token_file or a certificate with a name of reader_names"
        }
        (Scope::Operators, Role::Person(_)) => {
            "this takes an operator: a user of this role, or a token of [auth] reader_token_file with \
             the word \"operator\" behind it"
        }
        (Scope::Admins, Role::Person(_)) => {
            "this takes an admin: a user of this role, or a token of [auth] reader_token_file with \
             the word \"admin\" behind it"
        }
    };
    Err(Refusal::new(Reason::Forbidden, why))
}
