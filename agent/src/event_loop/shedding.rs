//! Doing less when the agent takes more than its budget, and more again.

use std::time::{Duration, Instant};

use log::{info, warn};

use super::EventLoop;
use crate::family;

/// A flood wakes the loop far more often than this.
const PAUSE: Duration = Duration::from_millis(100);

impl EventLoop {
    /// Looks at what the agent takes; a step goes out with the host row of the next report.
    pub(super) fn govern(&mut self, now: Instant) {
        if now.saturating_duration_since(self.governed_at) < PAUSE {
            return;
        }
        self.governed_at = now;
        let (sample, resident) = match self.parts.meter.read() {
            Ok(read) => read,
            Err(error) => {
                warn!(error = format!("{error:#}").as_str(); "what the agent takes is not known");
                return;
            }
        };
        let metrics = &self.parts.shared.metrics;
        metrics.agent_cpu_ms_total.set(sample.cpu_us / 1_000);
        metrics.agent_rss_bytes.set(resident);
        self.peak_bytes = self.peak_bytes.max(sample.peak_bytes);
        let Some(change) = self.parts.governor.observe(sample) else {
            return;
        };
        let (why, now) = (change.why.as_str(), family::shed(change.to));
        let now = now.as_str();
        if change.to > change.from {
            metrics.governor_steps_down_total.add(1);
            warn!(level = change.to, taken = why, now = now; "over the budget: less is measured");
        } else {
            metrics.governor_steps_up_total.add(1);
            info!(level = change.to, taken = why, now = now; "below the budget: more is measured");
        }
        metrics.governor_level.set(u64::from(change.to));
        for family in &mut self.parts.families {
            family.shed(change.to);
        }
        self.parts.shared.host.hurry();
    }
}
