//! The cgroup that the programs are for.

use std::fs::File;
use std::path::PathBuf;

use follow::{Stamp, Watch};
use libbpf_rs::Link;

use crate::config::Config;
use crate::loader;

/// Which cgroup, and whether it is there.
#[derive(Debug)]
pub struct Scope {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) watch: Watch,
    /// What the programs are told, and hang on.
    pub(super) now: Stamp,
    /// What hangs on it.
    pub(super) link: Option<Link>,
    /// Why it is there and not measured.
    pub(super) failed: Option<String>,
}

impl Scope {
    /// The scope of this configuration; looked at before it is opened.
    pub(super) fn new(config: &Config) -> Self {
        let name = config.scope.cgroup.clone();
        let path = loader::Scope::named(&name).path().to_owned();
        let mut watch = Watch::default();
        let now = Stamp::of_place(&path);
        watch.look(now.clone(), true);
        Self {
            name,
            path,
            watch,
            now,
            link: None,
            failed: None,
        }
    }

    pub(super) fn open(&self) -> std::io::Result<File> {
        File::open(&self.path)
    }

    fn is_missing(&self) -> bool {
        self.name != "/" && matches!(self.now, Stamp::Nothing(_))
    }

    /// For the plan: what is wrong with it.
    #[must_use]
    pub fn row(&self) -> Option<(String, String)> {
        let said = match &self.failed {
            Some(why) => format!("{} is there anew and not measured: {why}", self.name),
            None if self.is_missing() => {
                format!(
                    "{} is not there: nothing is measured until it is",
                    self.name
                )
            }
            None => return None,
        };
        Some(("scope".to_owned(), said))
    }
}
