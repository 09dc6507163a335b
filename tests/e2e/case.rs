//! One trial: its needs, its lab, and what is said when it fails.

use std::sync::{OnceLock, PoisonError, RwLock};

use anyhow::{Error, Result, anyhow};
use libtest_mimic::{Completion, Failed, Trial};
use tests::lab::Lab;
use tests::lab::binaries::Binaries;
use tests::lab::needs::{self, Need, Skip};

/// A trial before it is handed to the harness.
pub(crate) struct Case {
    /// `<file>::<sentence>`
    pub(crate) name: &'static str,
    /// What it needs beyond what every lab needs.
    pub(crate) needs: &'static [Need],
    /// Measures timing-dependent things, so no other trial may run beside it.
    pub(crate) alone: bool,
    /// The trial itself, in a fresh lab.
    pub(crate) run: fn(&Lab) -> Result<()>,
}

/// A trial that needs nothing beyond a lab and may run beside others.
pub(crate) const fn case(name: &'static str, run: fn(&Lab) -> Result<()>) -> Case {
    Case {
        name,
        needs: &[],
        alone: false,
        run,
    }
}

/// Held shared by every trial, and exclusively by those that run alone.
static MACHINE: RwLock<()> = RwLock::new(());

impl Case {
    /// The same with further needs.
    pub(crate) const fn needing(self, needs: &'static [Need]) -> Self {
        Self { needs, ..self }
    }

    /// The same with the machine for itself.
    pub(crate) const fn alone(self) -> Self {
        Self {
            alone: true,
            ..self
        }
    }

    /// The trial for the harness.
    pub(crate) fn trial(&'static self) -> Trial {
        Trial::ignorable_test(self.name, move || self.complete())
    }

    /// The same where another command runs it.
    pub(crate) fn left_to(&'static self, command: &'static str) -> Trial {
        Trial::ignorable_test(self.name, move || {
            Ok(Completion::ignored_with(format!("run by `{command}`")))
        })
    }

    fn complete(&self) -> Result<Completion, Failed> {
        let missing = needs::LAB
            .iter()
            .chain(self.needs)
            .find_map(|need| need.missing());
        if let Some(reason) = missing {
            return Ok(Completion::ignored_with(format!("skipped: {reason}")));
        }
        let result = if self.alone {
            let _machine = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
            self.in_lab()
        } else {
            let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
            self.in_lab()
        };
        match result {
            Ok(()) => Ok(Completion::Completed),
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(reason) => Ok(Completion::ignored_with(format!("skipped: {reason}"))),
                None => Err(told(&error).into()),
            },
        }
    }

    fn in_lab(&self) -> Result<()> {
        let lab = Lab::new(binaries()?)?;
        match (self.run)(&lab) {
            Ok(()) => lab.close(),
            Err(error) if error.is::<Skip>() => Err(error),
            Err(error) => {
                let evidence = lab.evidence();
                Err(if evidence.is_empty() {
                    error
                } else {
                    error.context(evidence)
                })
            }
        }
    }
}

/// The error with its causes, one per line, without the back-trace of this crate.
fn told(error: &Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n  because: ")
}

/// The programs under test, built once by the first trial that runs.
fn binaries() -> Result<&'static Binaries> {
    static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| Binaries::build().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

/// Enough for anything that only has to be noticed, on a busy machine.
pub(crate) const SOON: std::time::Duration = std::time::Duration::from_secs(20);
