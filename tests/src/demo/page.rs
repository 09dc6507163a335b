//! The collector's page for a browser of this machine, and somebody who may look at it.

use anyhow::Result;

use super::relay::Relay;
use crate::lab::collector::{ADDRESS, Collector};

/// Who looks at the page.
pub(super) const USER: &str = "demo";

/// The way to the page; it is closed when this is dropped.
pub(super) struct Page {
    /// Where browsers find it.
    pub(super) url: String,
    _relay: Relay,
}

impl Page {
    /// Lets browsers of this machine in, and makes [`USER`].
    ///
    /// # Errors
    /// When no port can be had, or the user cannot be made.
    pub(super) fn open(collector: &Collector) -> Result<Self> {
        let relay = Relay::start(collector.host.netns(), ADDRESS)?;
        collector.ask(&["user", "add", USER, "--role", "admin"])?;
        Ok(Self {
            url: format!("https://{}", relay.address),
            _relay: relay,
        })
    }

    /// A fresh link that logs [`USER`] in, once and within `expires` (such as `10m`).
    ///
    /// # Errors
    /// When there are too many that nobody has used.
    pub(super) fn link(&self, collector: &Collector, expires: &str) -> Result<String> {
        let command = ["user", "login-link", USER, "--expires", expires];
        let link = collector.ask(&[&command[..], &["--url", &self.url]].concat())?;
        Ok(link.trim().to_owned())
    }
}
