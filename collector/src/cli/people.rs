//! What commands about people share.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::audit;
use super::output::{Format, load};
use crate::access::{Access, NotChanged, user_name};
use crate::config::{Config, DEFAULT_PATH};
use crate::exit::Failure;
use crate::rank::Rank;

/// Where, and how to print.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(super) config: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
}

pub(super) fn name(text: &str) -> Result<String, String> {
    user_name(text).map_err(str::to_owned)
}

pub(super) fn rank(text: &str) -> Result<Rank, String> {
    Rank::of(text).ok_or_else(|| String::from("expected viewer, operator or admin"))
}

/// The database of a configuration.
pub(super) struct Opened {
    pub(super) config: Config,
    pub(super) access: Access,
}

impl Opened {
    pub(super) fn new(common: &Common) -> Result<Self, Failure> {
        let config = load(&common.config)?;
        let access = audit::open(&config)?;
        Ok(Self { config, access })
    }

    /// Why something was not changed, and what is to blame.
    pub(super) fn failed(&self, why: NotChanged, subject: &str) -> Failure {
        match why {
            NotChanged::Access(error) => audit::failed(&self.config, error),
            why => Failure::from(anyhow!("{subject}: {why}")),
        }
    }
}
