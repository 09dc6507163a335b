//! The page for whoever asks "does it work on my kernel?". Pure.

use crate::golden;
use crate::judge::{Outcome, Verdict};
use crate::record::Status;

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
        "unsupported",
        "none: the agent runs, reports the host and says why it measures no connection",
    ),
];

/// How to make what a kernel without type information needs.
const PACK: &str = "\
The kernel has no BTF (type information), which the agent's programs are fitted to it by. It needs
a BTF pack for exactly this release. From the debug package of the same kernel:
    pahole --btf_encode_detached=RELEASE.btf vmlinux        # 5 to 10 s; vmlinux with DWARF
    xz RELEASE.btf                                          # about 600 KB
Kernels that are built with CONFIG_DEBUG_INFO_BTF=y need none.";

/// The page.
#[must_use]
pub fn page(outcome: &Outcome, folder: &str) -> String {
    let mut text = format!("Waybill on {} ({})\n", outcome.release(), outcome.title);
    text += &format!("from {}\n\n", outcome.origin);
    match (&outcome.infrastructure, outcome.status) {
        (Some(why), _) => {
            text += &format!(
                "No verdict: the test did not begin, so nothing is known about Waybill here.\n\
                 {why}\n"
            );
        }
        (None, status) => {
            text += &format!("Supported mode: {}\n", outcome.mode);
            let words = MODES.iter().find(|(mode, _)| *mode == outcome.mode);
            text += &words.map_or(String::new(), |(_, words)| format!("  {words}\n"));
            text += match status {
                Verdict::Pass => "Everything that was checked is as it must be.\n",
                _ => "Something is NOT as it must be; see below.\n",
            };
            if outcome.edges.1 == 0 {
                text += "No traffic could be shown; the mode is what the agent says of itself.\n";
            }
            text += &missing(outcome);
            text += &checks(outcome);
        }
    }
    text += &format!("\n{}", send(outcome, folder));
    text
}

/// What the kernel lacks, in the agent's own words.
fn missing(outcome: &Outcome) -> String {
    let mut text = String::new();
    let doctor = outcome.record.doctor.as_ref();
    let facts = doctor.and_then(|doctor| doctor["facts"].as_object());
    let absent: Vec<String> = facts
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name, value.as_str()?)))
        .filter(|(_, value)| value.starts_with("no") && *value != "none")
        .filter(|(name, _)| !name.starts_with("least_for"))
        .map(|(name, value)| format!("  {name}: {value}\n"))
        .collect();
    if !absent.is_empty() {
        text += "\nWhat this kernel does not have:\n";
        text += &absent.concat();
    }
    text += "\nWhat the agent does, and why:\n";
    let running = outcome
        .record
        .running
        .as_ref()
        .map(|running| running.plan.clone());
    let plan = running.filter(|plan| !plan.is_empty());
    for (name, value) in plan.unwrap_or_else(|| golden::plan(&outcome.record)) {
        text += &format!("  {name}: {value}\n");
    }
    if lacks_types(outcome) {
        text += &format!("\n{}\n", PACK.replace("RELEASE", outcome.release()));
    }
    text
}

/// Whether the agent says that the kernel has no type information.
fn lacks_types(outcome: &Outcome) -> bool {
    let doctor = outcome.record.doctor.as_ref();
    let fact = doctor.and_then(|doctor| doctor["facts"]["btf"].as_str());
    fact.is_some_and(|fact| fact.starts_with("no"))
}

fn checks(outcome: &Outcome) -> String {
    let mut text = String::new();
    for (status, title) in [
        (Status::Fail, "What failed"),
        (Status::Skip, "What could not be shown"),
    ] {
        let cells: Vec<_> = outcome
            .cells
            .iter()
            .filter(|cell| cell.status == status)
            .collect();
        if cells.is_empty() {
            continue;
        }
        text += &format!("\n{title}:\n");
        for cell in cells {
            text += &format!("  {}: {}\n", cell.name, cell.reason.replace('\n', "\n    "));
        }
    }
    let passed = outcome
        .cells
        .iter()
        .filter(|cell| cell.status == Status::Pass)
        .count();
    let (found, expected) = outcome.edges;
    text += &format!("\n{passed} checks passed; {found} of {expected} edges were found.\n");
    if let Some(kilobytes) = outcome.record.measures.get("agent_peak_rss_kb") {
        text += &format!(
            "The agent's memory at its peak: {} MiB.\n",
            kilobytes / 1024
        );
    }
    text
}

fn send(outcome: &Outcome, folder: &str) -> String {
    if outcome.status == Verdict::Pass {
        return format!("The kernel's log and all results are in {folder}.\n");
    }
    format!(
        "To report this, send these two files; they hold the kernel's log and the results, and\n\
         nothing of your machine but the names of the files you gave:\n\
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
            "facts": {"btf": btf, "least_for_maps": "none (tried)"},
            "plan": [["connection", connection]],
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
            "btf: no: not built in",
            skipped,
            "btf_encode_detached=4.14.67.btf",
        ] {
            assert!(page.contains(words), "{words}\n{page}");
        }
        assert!(!page.contains("least_for_maps"));
    }

    #[test]
    fn a_kernel_that_has_everything_is_told_so_and_nothing_is_to_be_sent() {
        let page = page(&outcome("yes", "raw tracepoints", "sockops"), "runs/mine");
        assert!(page.contains("Everything that was checked"), "{page}");
        assert!(
            !page.contains("BTF pack") && !page.contains("send these"),
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
