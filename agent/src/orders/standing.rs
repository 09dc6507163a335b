//! The orders of one host: what is taken, what is on trial, and what is in force. Pure.

use notation::unhex;
use ring::signature::{ED25519, UnparsedPublicKey};
use wire::orders::{Directive, Invalid, KEY_BYTES, Orders};

use crate::config::Glob;

use super::mailbox::UploadProgress;
use super::signed::Signed;

/// Intervals after which orders on trial are given up, when the collector does not answer.
pub const TRIAL_INTERVALS: u32 = 6;
/// Requests until one goes over a connection that was opened with the orders in force: the first
/// may use one that is older, and closes it.
const TRIAL_REQUESTS: u64 = 2;

/// Why orders are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not signed by the key of this host's configuration.
    #[error("the signature is wrong")]
    Signature,
    /// Signed, but of another form than this agent knows.
    #[error("not understood")]
    Invalid(#[source] Invalid),
    /// Signed once, and overtaken: perhaps somebody replays them.
    #[error("version {found}, older than {newest}")]
    Older {
        /// Theirs.
        found: u64,
        /// The newest that was taken.
        newest: u64,
    },
}

/// Verified orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) signed: Signed,
    pub(super) orders: Orders,
}

/// What is known of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Since this monotonic millisecond and this number of requests.
    Trial { since_ms: u64, begun: u64 },
    /// The collector was reached with it.
    Proven,
    /// It was not, in time.
    RolledBack,
}

/// What became of a version on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stays.
    Proven,
    /// The version before is in force again.
    RolledBack,
}

/// The orders of one host.
#[derive(Debug)]
pub struct Standing {
    key: [u8; KEY_BYTES],
    /// Name and id.
    names: [String; 2],
    pub(super) newest: Option<(Taken, Stage)>,
    /// The last proven one before it.
    pub(super) before: Option<Taken>,
    /// There were others, which cannot be read any more.
    lost: bool,
}

impl Standing {
    /// No orders yet, for a host with this name and id (32 hex digits).
    #[must_use]
    pub fn new(key: [u8; KEY_BYTES], names: [String; 2]) -> Self {
        Self {
            key,
            names,
            newest: None,
            before: None,
            lost: false,
        }
    }

    /// The host is called this from now on.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.names[0]);
    }

    /// New orders are signed with this key; what was taken stays.
    pub fn change_key(&mut self, key: [u8; KEY_BYTES]) {
        self.key = key;
    }

    /// Says that there were orders, an emergency stop perhaps, which cannot be read any more.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether orders of an earlier run are lost: the option is off until newer ones come, or the
    /// collector, which sends them with its answers, has none.
    #[must_use]
    pub const fn lost(&self) -> bool {
        self.lost
    }

    /// The collector acknowledged a batch of this run without sending orders: there are none.
    pub fn has_none(&mut self) {
        self.lost = false;
    }

    /// Takes new orders; false when they are the newest that there are already.
    ///
    /// # Errors
    /// See [`Refusal`]; what was in force stays so.
    pub fn take(
        &mut self,
        signed: Signed,
        now_ms: u64,
        progress: UploadProgress,
    ) -> Result<bool, Refusal> {
        let orders = verify(&self.key, &signed)?;
        if let Some((newest, _)) = &self.newest {
            if newest.signed.body == signed.body {
                return Ok(false);
            }
            let newest = newest.orders.version;
            if orders.version <= newest {
                return Err(Refusal::Older {
                    found: orders.version,
                    newest,
                });
            }
        }
        // One that was never proven is nothing to go back to.
        if let Some((taken, Stage::Proven)) = self.newest.take() {
            self.before = Some(taken);
        }
        let stage = Stage::Trial {
            since_ms: now_ms,
            begun: progress.begun,
        };
        self.newest = Some((Taken { signed, orders }, stage));
        self.lost = false;
        Ok(true)
    }

    /// Judges a trial; says when it is over.
    ///
    /// Time alone proves nothing, for an agent may have nothing to send: a request must have failed
    /// since, and none have been answered after it.
    pub fn judge(
        &mut self,
        now_ms: u64,
        interval_ms: u64,
        progress: UploadProgress,
    ) -> Option<Outcome> {
        let (_, stage) = self.newest.as_mut()?;
        let Stage::Trial { since_ms, begun } = *stage else {
            return None;
        };
        if progress.answered >= begun + TRIAL_REQUESTS {
            *stage = Stage::Proven;
            self.before = None;
            return Some(Outcome::Proven);
        }
        let trial_ms = interval_ms.saturating_mul(TRIAL_INTERVALS.into());
        let cut_off = progress.unanswered > begun && progress.unanswered > progress.answered;
        if cut_off && now_ms.saturating_sub(since_ms) >= trial_ms {
            *stage = Stage::RolledBack;
            return Some(Outcome::RolledBack);
        }
        None
    }

    /// The newest version taken, whatever became of it; 0 for none. Not asked for again.
    #[must_use]
    pub fn newest(&self) -> u64 {
        let newest = self.newest.as_ref();
        newest.map_or(0, |(taken, _)| taken.orders.version)
    }

    /// The version in force; 0 for none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.acting().map_or(0, |taken| taken.orders.version)
    }

    /// Whether the collector has to be reached to prove the newest version.
    #[must_use]
    pub fn on_trial(&self) -> bool {
        matches!(self.newest, Some((_, Stage::Trial { .. })))
    }

    /// What is in force for this host.
    ///
    /// An option that was turned off stays off when the version that did so is rolled back: an
    /// outage of the collector must not undo an emergency, and not to write cannot cut off anybody.
    #[must_use]
    pub fn directive(&self) -> Directive {
        let mut directive = self.said_by(self.acting());
        if let Some((newest, Stage::RolledBack)) = &self.newest
            && self.said_by(Some(newest)).option == Some(false)
        {
            directive.option = Some(false);
        }
        if self.lost {
            directive.option = Some(false);
        }
        directive
    }

    /// For people: version, what it says to this host, and how it stands.
    #[must_use]
    pub fn said(&self) -> String {
        let Some((newest, stage)) = &self.newest else {
            return match self.lost {
                true => "those of the last run are lost: no option until the collector was reached",
                false => "none yet",
            }
            .into();
        };
        let said: Vec<String> = self
            .directive()
            .lines()
            .into_iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        let said = match said.is_empty() {
            true => "nothing for this host".to_owned(),
            false => shortened(&said.join(", ")),
        };
        let acting = match self.version() {
            0 => "no version".to_owned(),
            version => format!("version {version}"),
        };
        match stage {
            Stage::Trial { .. } => format!("{acting}: {said} (on trial)"),
            Stage::Proven => format!("{acting}: {said}"),
            Stage::RolledBack => {
                let version = newest.orders.version;
                format!("{acting}: {said} ({version} rolled back: the collector did not answer)")
            }
        }
    }

    fn acting(&self) -> Option<&Taken> {
        match &self.newest {
            Some((_, Stage::RolledBack)) => self.before.as_ref(),
            Some((taken, Stage::Trial { .. } | Stage::Proven)) => Some(taken),
            None => None,
        }
    }

    fn said_by(&self, taken: Option<&Taken>) -> Directive {
        let mut directive = Directive::default();
        for rule in taken.iter().flat_map(|taken| &taken.orders.rules) {
            let pattern = Glob::new(&rule.hosts);
            if self.names.iter().any(|name| pattern.matches(name)) {
                directive.overlay(&rule.directive);
            }
        }
        directive
    }
}

/// Lists of networks can be long; who wants all of them asks the collector.
const SAID_CHARS: usize = 200;

fn shortened(text: &str) -> String {
    if text.chars().count() <= SAID_CHARS {
        return text.to_owned();
    }
    text.chars().take(SAID_CHARS).chain("...".chars()).collect()
}

/// Checks signature first, form second: nothing of a stranger's is looked into.
pub(super) fn verify(key: &[u8; KEY_BYTES], signed: &Signed) -> Result<Orders, Refusal> {
    let signature = unhex::<64>(&signed.signature).ok_or(Refusal::Signature)?;
    UnparsedPublicKey::new(&ED25519, key)
        .verify(signed.body.as_bytes(), &signature)
        .map_err(|_| Refusal::Signature)?;
    Orders::parse(signed.body.as_bytes()).map_err(Refusal::Invalid)
}
