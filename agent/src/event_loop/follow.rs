//! What changed of what was read at the start, put in force.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use log::{info, warn};

use super::EventLoop;
use crate::config::Config;
use crate::followed::Change;
use crate::upload::Transport;

impl EventLoop {
    /// Takes what changed; a new name goes out with the next report.
    pub(super) fn follow(&mut self, now: Instant) -> Result<()> {
        if self.parts.signals.wants_another_look()? {
            info!("files are read again");
            self.parts.followed.ask();
        }
        let metrics = &self.parts.shared.metrics;
        for change in self.parts.followed.tend(now, metrics) {
            match change {
                Change::Secrets(config) => self.change_secrets(&config),
                // The resolver reads its files anew with the next lookup.
                Change::Names => self.parts.spool.kick(),
                Change::Hostname(name) => {
                    info!(name = name.as_str(); "this host has a new name");
                    self.parts.fleet.rename(&name);
                    self.parts.shared.host.rename(name);
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
                    let mailbox = self.parts.fleet.mailbox();
                    let metrics = Arc::clone(&self.parts.shared.metrics);
                    let transport = transport.with_mailbox(mailbox).with_metrics(metrics);
                    self.parts.spool.change(transport);
                }
                Err(error) => warn!(error:% = error; "the upload goes on as before"),
            }
        }
        for family in &mut self.parts.families {
            family.change_keys(config);
        }
        self.parts.fleet.change_key(config.orders_key);
    }
}
