//! The scope's cgroup can go, come back as another one, and come later.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result};
use follow::Stamp;
use log::{info, warn};

use super::load::{Loaded, SOCKOPS};
use super::tables::write_settings;
use crate::loader::program;

impl Loaded {
    /// Looks whether the scope's cgroup is the one that the programs are for; true when that changed.
    pub fn follow_scope(&mut self) -> bool {
        if self.scope.name == "/" {
            return false;
        }
        let seen = Stamp::of_place(&self.scope.path);
        if !self.scope.watch.look(seen.clone(), false) || seen == self.scope.now {
            return false;
        }
        self.scope.now = seen;
        let scope = self.scope.name.clone();
        match self.scope.open() {
            Ok(cgroup) => {
                let moved = self.move_to(Some(&cgroup));
                self.scope.failed = moved.err().map(|error| format!("{error:#}"));
                match &self.scope.failed {
                    None => info!(scope = scope.as_str(); "the scope's cgroup is there"),
                    Some(error) => {
                        warn!(scope = scope.as_str(), error = error.as_str(); "scope not followed");
                    }
                }
            }
            Err(_) => {
                warn!(scope = scope.as_str(); "the scope's cgroup is gone: nothing is measured");
                let moved = self.move_to(None);
                self.scope.failed = moved.err().map(|error| format!("{error:#}"));
            }
        }
        true
    }

    /// Takes no capability: the kernel gives a link to whoever has the program and the cgroup.
    fn move_to(&mut self, cgroup: Option<&File>) -> Result<()> {
        self.scope.link = None;
        self.core.follow_scope()?;
        let mut settings = self.settings;
        // Who is attached there is not told to the confined agent.
        if let Some(co_attached) = &mut self.co_attached {
            co_attached.forget();
            settings.keep_cb_flags = u8::from(co_attached.may_share());
        }
        write_settings(&self.maps.config, &settings)?;
        self.settings = settings;
        if let (Some(cgroup), true) = (cgroup, self.has_sockops) {
            let link = program(&self.object, SOCKOPS)?.attach_cgroup(cgroup.as_raw_fd());
            self.scope.link = Some(link.context("attach to the scope's cgroup")?);
        }
        Ok(())
    }
}
