//! How programs learn what is open already.

use crate::config::ListsSetting;
use crate::family::connection::plan::DumpMethod;
use crate::host::{Fact, HostFacts};
use crate::plan::Choice;

/// Discovery and snapshot both look at what is open: by BPF iterators, or by diagnostic sockets.
///
/// What an iterator discovers is in the programs' table, which both kinds of snapshots show; what
/// diagnostic sockets discover they alone know of, so that then the snapshot is theirs as well.
pub(super) fn choose(
    facts: &HostFacts,
    setting: ListsSetting,
    (runs, probes): (bool, bool),
) -> (Choice<DumpMethod>, Choice<DumpMethod>) {
    let discovers = facts.file_iterator.is_yes() || !facts.sockets.lists.is_yes();
    let shows = match discovers {
        true => &facts.map_iterator,
        false => &facts.file_iterator,
    };
    let look = |fact: &Fact, reason: &str, loss: &str| {
        // Kernels that need probes have no iterators, and the object for them has none.
        let lacking = match fact.is_yes() {
            true if probes => "programs on probes have no iterators",
            true if setting == ListsSetting::Sockets => "agent.lists asks for it",
            true => "",
            false => fact.why(),
        };
        match (runs, lacking.is_empty(), facts.sockets.lists.is_yes()) {
            (false, ..) => Choice::new(DumpMethod::No, "no family needs it"),
            (true, true, _) => Choice::new(DumpMethod::Iterator, reason),
            (true, false, true) => {
                let reason = format!("{reason} by diagnostic sockets: {lacking}");
                Choice::new(DumpMethod::Sockets, reason)
            }
            (true, false, false) => Choice::new(DumpMethod::No, format!("{loss}: {lacking}")),
        }
    };
    (
        look(
            &facts.file_iterator,
            "open sockets are listed once at start",
            "connections older than the agent are not measured",
        ),
        look(
            shows,
            "open connections are read at each interval",
            "connections are reported when they close",
        ),
    )
}
