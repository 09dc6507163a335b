//! The communication matrix that is in force: read and understood once for all who hold edges
//! against it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::access::{self, Access};
use crate::matrix::{self, Held, MAX_BYTES, Mistakes};

/// The matrix in force.
#[derive(Debug)]
pub struct InForce {
    access: Arc<Access>,
    /// The version that was read last.
    known: Mutex<Option<(i64, Arc<Held<'static>>)>>,
}

/// Why it cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The database.
    #[error("the declared matrix cannot be read")]
    Access(#[from] access::Error),
    /// Its file, which a newer program may have taken.
    #[error("the declared matrix cannot be understood: {0}")]
    Mistakes(Mistakes),
}

impl InForce {
    /// What is declared in this database.
    #[must_use]
    pub fn new(access: Arc<Access>) -> Self {
        Self {
            access,
            known: Mutex::default(),
        }
    }

    /// The newest version; `None`: nothing is declared.
    ///
    /// # Errors
    /// See [`Unread`].
    pub fn get(&self) -> Result<Option<Arc<Held<'static>>>, Unread> {
        let Some(newest) = self.access.matrix_in_force()? else {
            return Ok(None);
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((version, held)) = &*known
            && *version == newest
        {
            return Ok(Some(Arc::clone(held)));
        }
        let Some((version, file)) = self.access.declared(None, MAX_BYTES)? else {
            return Ok(None);
        };
        let declared = matrix::read(&file).map_err(Unread::Mistakes)?;
        let held = Arc::new(Held::of(declared.flows));
        *known = Some((version.version, Arc::clone(&held)));
        Ok(Some(held))
    }
}
