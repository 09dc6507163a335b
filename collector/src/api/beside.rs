//! What is known beside the store.

use std::sync::Arc;

use super::failure::Problem;
use crate::alert::finding::{Severity, Subject};
use crate::alert::labels::labels;
use crate::alert::store::{AlertStore, Error};
use crate::declared::InForce;
use crate::matrix::Held;

/// Which alerts fire, and what is declared.
#[derive(Debug)]
pub struct Beside {
    /// Alerts.
    pub alerts: Arc<AlertStore>,
    /// The declared matrix.
    pub declared: InForce,
}

impl Beside {
    /// What alerts are about that fire and are not muted, and how bad each is.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn firing(&self, now_ms: i64) -> Result<Vec<(Subject, Severity)>, Problem> {
        let read = || -> Result<_, Error> {
            let mutes = self.alerts.mutes()?;
            let mut all = self.alerts.firing()?;
            all.retain(|alert| mutes.of(&labels(alert), now_ms).is_none());
            Ok(all)
        };
        let all = read().map_err(|error| unread(&error))?.into_iter();
        let all = all.map(|alert| (alert.finding.subject, alert.finding.severity));
        Ok(all.collect())
    }

    /// The declared matrix, where there is one.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn matrix(&self) -> Result<Option<Arc<Held<'static>>>, Problem> {
        self.declared.get().map_err(|error| unread(&error))
    }
}

fn unread(error: &dyn std::error::Error) -> Problem {
    Problem::new(503, "store", format!("{error}; ask again"))
}
