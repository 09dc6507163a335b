//! Tokens for enrolment that can still be used.

use rusqlite::{OptionalExtension as _, params};
use serde_json::json;

use super::actor::Actor;
use super::error::Error;
use super::gate::Access;
use super::record::{Action, Entry};
use super::revoked::NAME_BYTES;
use crate::digest::hex;

/// A token for enrolment, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// What names it.
    pub id: [u8; NAME_BYTES],
    /// For which host.
    pub name: String,
    /// How often it can still be used.
    pub uses_left: u32,
    /// When it was made, Unix milliseconds.
    pub made_ms: i64,
    /// Until when, Unix milliseconds.
    pub expires_ms: i64,
    /// Who made it; see [`Actor`].
    pub actor: String,
}

impl Access {
    /// Tokens that can be used now, those that end first at the beginning.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invited(&self, now_ms: i64) -> Result<Vec<Invited>, Error> {
        self.ask(|db| {
            db.prepare_cached(
                "SELECT substr(id, 1, 8), name, uses_left, made_ms, expires_ms, actor
                 FROM enrol_token WHERE uses_left > 0 AND expires_ms > ?1
                 ORDER BY expires_ms, name",
            )?
            .query_map([now_ms], |row| {
                Ok(Invited {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    uses_left: row.get(2)?,
                    made_ms: row.get(3)?,
                    expires_ms: row.get(4)?,
                    actor: row.get(5)?,
                })
            })?
            .collect()
        })
    }

    /// Makes a token void; false where none is named so that could still be used.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn withdraw(
        &self,
        id: [u8; NAME_BYTES],
        actor: &Actor,
        now_ms: i64,
    ) -> Result<bool, Error> {
        self.change(actor, now_ms, |db| {
            let name: Option<String> = db
                .query_row(
                    "UPDATE enrol_token SET uses_left = 0
                     WHERE substr(id, 1, 8) = ?1 AND uses_left > 0 AND expires_ms > ?2
                     RETURNING name",
                    params![id, now_ms],
                    |row| row.get(0),
                )
                .optional()
                .map_err(Error::write)?;
            let Some(name) = name else {
                return Ok((false, Vec::new()));
            };
            let before = json!({ "token": hex(&id), "tokens": 1 });
            let entry = Entry::new(Action::EnrolmentWithdrawn, name).before(before);
            Ok((true, vec![entry]))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::access::{Access, Actor, Invitation, NotEnrolled};

    #[test]
    fn what_is_withdrawn_enrols_nobody_and_is_listed_no_more() {
        let dir = tempfile::TempDir::new().unwrap();
        let access = Access::open(&dir.path().join("access.db"), Duration::from_secs(60)).unwrap();
        let actor = Actor::remote("user", "ann", None);
        for name in ["db1", "db2"] {
            let invitation = Invitation {
                name: name.to_owned(),
                token: format!("wbe_{name}"),
                expires_ms: 100,
            };
            access.invite(&invitation, 2, &actor, 5).unwrap();
        }
        let open = access.invited(50).unwrap();
        let names: Vec<_> = open.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["db1", "db2"]);
        assert!(access.invited(100).unwrap().is_empty(), "they have expired");
        assert!(access.withdraw(open[0].id, &actor, 60).unwrap());
        assert!(!access.withdraw(open[0].id, &actor, 61).unwrap());
        assert_eq!(access.invited(70).unwrap().len(), 1);
        let refused = access.enrol("wbe_db1", |_| unreachable!(), None, 80);
        assert!(matches!(refused, Err(NotEnrolled::Used { .. })));
    }
}
