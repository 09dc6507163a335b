//! What changed of what was read at the start, put in force.

use std::time::Instant;

use anyhow::Result;
use follow::PERIOD;
use log::{info, warn};

use super::EventLoop;
use crate::config::Config;
use crate::followed::Change;
use crate::loader::{self, Loaded};
use crate::upload::Transport;

impl EventLoop {
    /// Takes what changed; a new name goes out with the next report.
    pub(super) fn follow(&mut self, now: Instant) -> Result<()> {
        if self.parts.signals.wants_another_look()? {
            info!("files are read again");
            self.parts.followed.ask();
        }
        if now.saturating_duration_since(self.scope_at) >= PERIOD {
            self.scope_at = now;
            let loaded = self.parts.loaded.as_mut();
            if loaded.is_some_and(Loaded::follow_scope) {
                self.host_row_at = None;
            }
        }
        for change in self.parts.followed.tend(now, &self.parts.metrics) {
            match change {
                Change::Secrets(config) => self.change_secrets(&config),
                // The resolver reads its files anew with the next lookup.
                Change::Names => self.parts.spool.kick(),
                Change::Hostname(name) => {
                    info!(name = name.as_str(); "this host has a new name");
                    self.parts.fleet.rename(&name);
                    self.parts.host.hostname = name;
                    self.host_row_at = None;
                }
            }
        }
        Ok(())
    }

    /// Certificates, tokens and keys that were found to be usable.
    fn change_secrets(&mut self, config: &Config) {
        if let Some(upload) = &config.upload {
            let settings = (self.parts.reach)(upload);
            match Transport::new(&settings) {
                Ok(transport) => {
                    let post = self.parts.fleet.post();
                    self.parts.spool.change(transport.with_post(post));
                }
                Err(error) => warn!(error:% = error; "the upload goes on as before"),
            }
        }
        if let Some(loaded) = &self.parts.loaded
            && let Err(error) = loader::write_keys(&loaded.maps.keys, &config.keys)
        {
            warn!(error = format!("{error:#}").as_str(); "fleet keys not changed");
        }
        if let Some(observer) = &mut self.parts.observer {
            observer.change_keys(&config.keys);
        }
        self.parts.fleet.change_key(config.orders_key);
    }
}
