//! What is written into the audit log: every change, who made it, and how it was before.

use rusqlite::{Connection, params};
use serde_json::Value;

use super::actor::Actor;

/// Most records that are kept, however young: attempts to log in cannot fill the disk.
const MAX_RECORDS: u64 = 1_000_000;

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)*) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Action {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Action {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in the log.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

actions! {
    /// A credential is refused from now on.
    CredentialRevoked = "credential.revoked",
    /// A revocation was taken back.
    CredentialReinstated = "credential.reinstated",
    /// A credential may speak for another host.
    CredentialReleased = "credential.released",
    /// A token for enrolment was made.
    EnrolmentInvited = "enrolment.invited",
    /// Tokens for enrolment were made void.
    EnrolmentWithdrawn = "enrolment.withdrawn",
    /// A host got its first certificate.
    EnrolmentDone = "enrolment.done",
    /// A host got its next certificate.
    EnrolmentRenewed = "enrolment.renewed",
    /// A token for enrolment was refused that had been used, or was too old.
    EnrolmentRefused = "enrolment.refused",
    /// The authority that signs certificates of agents was made.
    AuthorityMade = "authority.made",
    /// Orders to the fleet were signed.
    OrdersChanged = "orders.changed",
    /// The key of a host's exports was believed.
    ExportsTrusted = "exports.trusted",
    /// A user was added.
    UserAdded = "user.added",
    /// A user was removed, and with it its sessions and tokens.
    UserRemoved = "user.removed",
    /// A user has another role.
    UserRoleChanged = "user.role_changed",
    /// A user may not do anything any more.
    UserDisabled = "user.disabled",
    /// A user may again.
    UserEnabled = "user.enabled",
    /// A user has another password.
    UserPasswordChanged = "user.password_changed",
    /// A link was made that begins a session of a user.
    LoginLinkMade = "login_link.made",
    /// Somebody could not log in.
    LoginFailed = "login.failed",
    /// Somebody logged in.
    SessionBegun = "session.begun",
    /// Sessions were ended, by their user or somebody else.
    SessionEnded = "session.ended",
    /// A token of a user was made.
    TokenMade = "token.made",
    /// A token of a user was revoked.
    TokenRevoked = "token.revoked",
    /// A communication matrix was declared.
    MatrixDeclared = "matrix.declared",
    /// The collector began with another retention or bound of the store than before.
    RetentionChanged = "retention.changed",
    /// Somebody knows of an alert.
    AlertAcknowledged = "alert.acknowledged",
    /// An acknowledgement was taken back.
    AlertUnacknowledged = "alert.unacknowledged",
    /// Alerts are not told for a while.
    SilenceMade = "silence.made",
    /// A silence is of others, or for another time.
    SilenceChanged = "silence.changed",
    /// A silence was ended before its time.
    SilenceEnded = "silence.ended",
    /// Alerts are not told at a time of every week.
    MaintenanceMade = "maintenance.made",
    /// A maintenance window is of others, or at another time.
    MaintenanceChanged = "maintenance.changed",
    /// A maintenance window was removed.
    MaintenanceRemoved = "maintenance.removed",
}

/// Something that was done.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What.
    pub action: Action,
    /// To what: a user's name, a credential, a host.
    pub subject: String,
    /// How it was.
    pub before: Option<Value>,
    /// How it is.
    pub after: Option<Value>,
}

impl Entry {
    /// Something of which nothing more is to be said.
    pub fn new(action: Action, subject: impl Into<String>) -> Self {
        Self {
            action,
            subject: subject.into(),
            before: None,
            after: None,
        }
    }

    /// How it was.
    #[must_use]
    pub fn before(mut self, before: Value) -> Self {
        self.before = Some(before);
        self
    }

    /// How it is.
    #[must_use]
    pub fn after(mut self, after: Value) -> Self {
        self.after = Some(after);
        self
    }
}

pub(super) fn write(
    db: &Connection,
    actor: &Actor,
    entry: &Entry,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    db.prepare_cached(
        "INSERT INTO audit (at_ms, actor, source, action, subject, before, after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        now_ms,
        actor.who,
        actor.source,
        entry.action.name(),
        entry.subject,
        text(&entry.before),
        text(&entry.after)
    ])
    .map(drop)
}

/// Deletes a bounded number of records that are too old, or too many.
pub(super) fn trim(db: &Connection, horizon_ms: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at_ms < ?1 LIMIT 1000)",
    )?
    .execute([horizon_ms])?;
    db.prepare_cached("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1")?
        .execute([MAX_RECORDS.cast_signed()])
        .map(drop)
}
