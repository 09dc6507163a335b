//! How it is learned who accepts a connection: by nothing that others pay for.

use super::hooks::Hooks;
use crate::family::connection::plan::Accept;
use crate::host::HostFacts;
use crate::plan::Choice;

/// The surest that this host has. The listener's process is known in any case.
pub(super) fn choose(
    facts: &HostFacts,
    runs: bool,
    hooks: &Result<Hooks, String>,
) -> Choice<Accept> {
    let accepts = "accepted connections belong to the process that accepts";
    match (runs, hooks) {
        (false, _) => Choice::new(Accept::Listener, "no family needs it"),
        // All that follows connections hangs on probes: whether this one can be made, the loader
        // will tell.
        (true, Ok(Hooks::Probes { .. })) => Choice::new(Accept::Probe, accepts),
        (true, _) if facts.accept_probe.is_yes() => Choice::new(Accept::Probe, accepts),
        (true, _) if facts.reader_tracepoint.is_yes() => Choice::new(
            Accept::Reader,
            format!(
                "accepted connections belong to the process that reads first: {}",
                facts.accept_probe.why()
            ),
        ),
        (true, _) => Choice::new(
            Accept::Listener,
            format!(
                "accepted connections belong to the process that listens, or closes them: {}; and \
                 who reads is not told: {}",
                facts.accept_probe.why(),
                facts.reader_tracepoint.why()
            ),
        ),
    }
}
