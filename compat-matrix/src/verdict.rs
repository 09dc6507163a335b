//! The page for whoever asks "does it work on my kernel?". Pure.

use crate::golden;
use crate::judge::{Outcome, Verdict};
use crate::lacks;
use crate::matrix::INFRASTRUCTURE;
use crate::record::Status;

/// The row of a plan about connections.
const CONNECTION: &str = "connection";

/// The mode in which no connection is measured.
const UNSUPPORTED: &str = "unsupported";

/// What each mode means to a user.
const MODES: [(&str, &str); 4] = [
    (
        "sockops",
        "full: connections are measured, and joined through gateways by the option that the \
         kernel's TCP stack writes",
    ),
    (
        "tc-clone",
        "full: connections are measured, and joined through gateways by a packet that carries \
         the option beside the connection's own",
    ),
    (
        "observe",
        "measuring only: connections are measured; through a gateway that rewrites addresses \
         they are joined by address where that is possible, and not by a token",
    ),
    (
        UNSUPPORTED,
        "none: the agent runs, reports the host and says why it measures no connection",
    ),
];

/// How to make what a kernel without type information needs.
const PACK: &str = "\
Which BTF pack it needs, and how to make it:
  One for exactly this build of RELEASE, made of its vmlinux with debug information. That is in
    Debian                    linux-image-RELEASE-dbg
    Ubuntu                    linux-image-unsigned-RELEASE-dbgsym
    RHEL and its relatives    kernel-debuginfo-RELEASE
    a kernel of your own      the folder it was built in, with CONFIG_DEBUG_INFO=y
  In a source tree of Waybill, in 10 seconds, and of about 2 KB:
    cargo xtask btf --from vmlinux
  It belongs into usr/share/waybill/btf/x86_64/ of the agent's root directory, as
    NAME
  A kernel that is built with CONFIG_DEBUG_INFO_BTF=y needs no pack.
";

/// The page.
#[must_use]
pub fn page(outcome: &Outcome, folder: &str) -> String {
    let mut text = match &outcome.record.release {
        Some(release) => format!("Waybill on {release} ({})\n", outcome.title),
        None => format!("Waybill on {}\n", outcome.title),
    };
    text += &format!("from {}\n\n", outcome.origin);
    match (&outcome.infrastructure, outcome.status) {
        (Some(why), _) => {
            text += &format!(
                "No verdict: the test did not begin, so nothing is known about Waybill here.\n\
                 {why}\n"
            );
        }
        (None, _) if outcome.mode == INFRASTRUCTURE => {
            let how = outcome.cells.first().map_or("", |cell| &cell.reason);
            text += &format!(
                "No verdict, as it must be here: nothing of Waybill ran, so nothing is known of \
                 it.\n{how}\n"
            );
        }
        (None, status) => {
            text += &format!("Supported mode: {}\n", outcome.mode);
            let words = MODES.iter().find(|(mode, _)| *mode == outcome.mode);
            text += &words.map_or(String::new(), |(_, words)| format!("  {words}\n"));
            text += match status {
                Verdict::Pass if outcome.mode == UNSUPPORTED => {
                    "What could be checked is as it must be; nothing could of connections.\n"
                }
                Verdict::Pass => "Everything that was checked is as it must be.\n",
                _ => "Something is NOT as it must be; see below.\n",
            };
            if outcome.edges.1 == 0 && outcome.mode != UNSUPPORTED {
                text += "No traffic could be shown; the mode is what the agent says of itself.\n";
            }
            text += &missing(outcome);
            text += &checks(outcome);
        }
    }
    text += &format!("\n{}", send(outcome, folder));
    text
}

/// What the kernel lacks, what that takes away, and what the agent makes of it.
fn missing(outcome: &Outcome) -> String {
    let mut text = String::new();
    let lacks = lacks::of(&outcome.record);
    if !lacks.is_empty() {
        text += "\nWhat is missing here, and why it matters:\n";
    }
    for lack in &lacks {
        text += &format!("  {}: {}\n    {}\n", lack.what, lack.answer, lack.loss);
    }
    text += "\nWhat the agent does, and why:\n";
    let plan = decisions(outcome);
    let skipped = unmeasured(&plan).map(str::to_owned);
    for (name, value) in plan {
        // What follows from that no connection is measured says nothing more.
        let reason = value.split_once(": ").map(|(_, reason)| reason);
        let follows = skipped.is_some() && skipped.as_deref() == reason;
        let idle = reason == Some("no family needs it");
        if name == CONNECTION || !(follows || idle) {
            text += &format!("  {name}: {value}\n");
        }
    }
    if lacks_types(outcome) {
        let pack = PACK.replace("NAME", &pack_name(outcome));
        text += &format!("\n{}", pack.replace("RELEASE", outcome.release()));
    }
    text
}

/// What the agent decided, when it ran if it did.
fn decisions(outcome: &Outcome) -> Vec<(String, String)> {
    let running = outcome.record.running.as_ref();
    let plan = running.map(|running| running.plan.clone());
    plan.filter(|plan| !plan.is_empty())
        .unwrap_or_else(|| golden::plan(&outcome.record))
}

/// Why no connection is measured, if that is so.
fn unmeasured(plan: &[(String, String)]) -> Option<&str> {
    let (_, decision) = plan.iter().find(|(name, _)| name == CONNECTION)?;
    decision.strip_prefix("skipped: ")
}

/// Whether the kernel has no type information, and nothing that stands in for it.
fn lacks_types(outcome: &Outcome) -> bool {
    let lacks = lacks::of(&outcome.record);
    lacks.iter().any(|lack| lack.fact == lacks::BTF)
}

/// Name of the file that a pack for this kernel would have, as the agent says it.
fn pack_name(outcome: &Outcome) -> String {
    let said = lacks::pack(&outcome.record).unwrap_or_default();
    let name = said.rsplit_once("it would be ").map(|(_, name)| name);
    name.map_or_else(
        || format!("BUILD-ID.{}.btf.zst", outcome.release()),
        str::to_owned,
    )
}

/// What could not be shown, the same reason once.
fn skipped(outcome: &Outcome) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    let skips = outcome.cells.iter().filter(|c| c.status == Status::Skip);
    for cell in skips {
        match reasons
            .iter_mut()
            .find(|(reason, _)| *reason == cell.reason)
        {
            Some((_, names)) => names.push(&cell.name),
            None => reasons.push((&cell.reason, vec![&cell.name])),
        }
    }
    let plan = decisions(outcome);
    let unmeasured = unmeasured(&plan);
    let mut text = String::new();
    for (reason, names) in reasons {
        let reason = if unmeasured == Some(reason) {
            "no connection is measured, as said above".to_owned()
        } else {
            reason.replace('\n', "\n    ")
        };
        text += &format!("  {reason}:\n    {}\n", names.join(", "));
    }
    if text.is_empty() {
        return text;
    }
    format!("\nWhat could not be shown:\n{text}")
}

fn checks(outcome: &Outcome) -> String {
    let mut text = String::new();
    let failed: Vec<String> = outcome
        .red()
        .map(|cell| format!("  {}: {}\n", cell.name, cell.reason.replace('\n', "\n    ")))
        .collect();
    if !failed.is_empty() {
        text += &format!("\nWhat failed:\n{}", failed.concat());
    }
    text += &skipped(outcome);
    let passed = outcome
        .cells
        .iter()
        .filter(|cell| cell.status == Status::Pass)
        .count();
    let edges = match outcome.edges {
        (_, 0) => String::new(),
        (found, expected) => format!("; {found} of {expected} edges were found"),
    };
    text += &format!("\n{passed} checks passed{edges}.\n");
    if let Some(kilobytes) = outcome.record.measures.get("agent_peak_rss_kb") {
        text += &format!(
            "The agent's memory at its peak: {} MiB.\n",
            kilobytes / 1024
        );
    }
    text
}

fn send(outcome: &Outcome, folder: &str) -> String {
    let why = match outcome.status {
        Verdict::Pass if lacks_types(outcome) => {
            "To have this kernel's pack made part of Waybill, send us the pack, or say where its\n\
             debug package is, and with it"
        }
        Verdict::Pass => return format!("The kernel's log and all results are in {folder}.\n"),
        _ => "To report this, send us",
    };
    format!(
        "{why} these two files; they hold the kernel's log and the results,\n\
         and nothing of your machine but the names of the files you gave:\n\
         \x20 {folder}/console.log\n  {folder}/outcome.json\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::page;
    use crate::judge::{Held, Outcome, Verdict};
    use crate::matrix::Tier;
    use crate::record::Record;

    fn outcome(btf: &str, connection: &str, mode: &str) -> Outcome {
        let held = Held {
            id: "mine".into(),
            title: "mine".into(),
            tier: Tier::BestEffort,
            origin: "my-kernel.rpm".into(),
            verdict: None,
            golden: None,
            baseline: None,
            more_percent: 10,
            report: true,
        };
        let mut record = Record::default();
        record.line("{\"type\":\"ready\",\"release\":\"4.14.67\"}");
        let doctor = json!({"type": "doctor", "doctor": {
            "facts": {
                "btf": btf,
                "btf_pack": "none: no BTF packs are installed; it would be 0a1b.4.14.67.btf.zst",
                "least_for_maps": "none (tried)",
                "ring_buffer": "no: the kernel refuses a ring buffer",
            },
            "plan": [
                ["connection", connection],
                ["transport", "ring buffer: no family needs it"],
            ],
        }});
        record.line(&doctor.to_string());
        let mut outcome = Outcome::never_started(&held, String::new());
        outcome.infrastructure = None;
        outcome.status = Verdict::Pass;
        outcome.mode = mode.into();
        outcome.record = record;
        outcome
    }

    #[test]
    fn a_kernel_without_type_information_is_told_which_pack_it_needs_and_how_to_make_it() {
        let skipped = "skipped: the kernel has no BTF";
        let page = page(
            &outcome("no: not built in", skipped, "unsupported"),
            "runs/mine",
        );
        for words in [
            "Supported mode: unsupported",
            "type information (BTF): not built in",
            skipped,
            "linux-image-4.14.67-dbg",
            "nothing could of connections",
            "send us the pack",
            "cargo xtask btf --from vmlinux",
        ] {
            assert!(page.contains(words), "{words}\n{page}");
        }
        assert!(!page.contains("least_for_maps"));
    }

    #[test]
    fn a_kernel_that_is_measured_without_types_is_told_its_pack_and_no_contradiction() {
        let by_sockets = "packet and diagnostic sockets: the kernel does not describe its \
                          structures (BTF), and no BTF packs are installed";
        let mut outcome = outcome("no: not built in", by_sockets, "observe");
        outcome.edges = (8, 8);
        let page = page(&outcome, "runs/mine");
        for words in [
            "8 of 8 edges",
            "    0a1b.4.14.67.btf.zst\n",
            "linux-image-4.14.67-dbg",
        ] {
            assert!(page.contains(words), "{words}\n{page}");
        }
        for words in [
            "no connection is measured",
            "no family needs it",
            "none is measured",
        ] {
            assert!(!page.contains(words), "{words}\n{page}");
        }
    }

    #[test]
    fn a_kernel_that_has_everything_is_told_so_and_nothing_is_to_be_sent() {
        let page = page(&outcome("yes", "raw tracepoints", "sockops"), "runs/mine");
        assert!(page.contains("Everything that was checked"), "{page}");
        assert!(
            !page.contains("BTF pack") && !page.contains("send us"),
            "{page}"
        );
    }

    #[test]
    fn a_guest_that_never_was_ready_says_nothing_about_waybill() {
        let mut outcome = outcome("yes", "x", "?");
        outcome.status = Verdict::Infrastructure;
        outcome.infrastructure = Some("the kernel did not come up (panic: VFS)".into());
        let page = page(&outcome, "runs/mine");
        assert!(
            page.contains("No verdict") && page.contains("panic: VFS"),
            "{page}"
        );
        assert!(page.contains("runs/mine/console.log"), "{page}");
    }
}
