//! `cargo xtask faults`: breaks the agent, and what is around it, on purpose, and shows that the
//! matrix turns exactly the right cells red.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::stage::{say, stage};
use crate::{child, deps, matrix, rootfs, workspace};

/// Options of `faults`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these faults, by name (default: all)
    names: Vec<String>,
}

/// Something broken, and what must be seen of it.
struct Fault {
    name: &'static str,
    /// Where it is tried: an id of the matrix.
    kernel: &'static str,
    /// The checks that run.
    checks: &'static [&'static str],
    how: How,
    /// Cells that must be red; a `*` at the end stands for anything. No other may be.
    red: &'static [&'static str],
}

/// Where the fault is.
enum How {
    /// In the guest, which knows it by the fault's name.
    Guest,
    /// In the agent's programs, compiled with this fault (bpf/build.rs).
    Agent(&'static str),
}

const FAULTS: [Fault; 7] = [
    Fault {
        name: "lost-row",
        kernel: "debian-11",
        checks: &["edges"],
        how: How::Guest,
        red: &["edges/fullnat-nft-v4/auto"],
    },
    Fault {
        name: "dead-agent",
        kernel: "debian-12",
        checks: &["edges"],
        how: How::Guest,
        red: &["edges/fullnat-nft-v4/auto"],
    },
    Fault {
        name: "leaked-filter",
        kernel: "debian-11",
        checks: &["residue"],
        how: How::Guest,
        red: &["residue/orderly-end/auto"],
    },
    Fault {
        name: "leaked-program",
        kernel: "debian-12",
        checks: &["residue"],
        how: How::Guest,
        red: &["residue/orderly-end/auto"],
    },
    Fault {
        name: "option-length",
        kernel: "debian-12",
        checks: &["edges", "residue"],
        how: How::Agent("OPTION_LENGTH"),
        red: &["edges/*"],
    },
    Fault {
        name: "verifier",
        kernel: "debian-11",
        checks: &["doctor", "residue"],
        how: How::Agent("VERIFIER"),
        // The guest shows the verifier its own copy of the programs, which is not broken.
        red: &["doctor/starts-and-explains", "run/mode"],
    },
    // The same agent where the helper exists: nothing may be red.
    Fault {
        name: "verifier-elsewhere",
        kernel: "debian-13",
        checks: &["doctor", "residue"],
        how: How::Agent("VERIFIER"),
        red: &[],
    },
];

/// Runs every fault and compares.
///
/// # Errors
/// When a name is unknown, a tool is missing or a build fails.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    for name in &args.names {
        ensure!(
            FAULTS.iter().any(|fault| fault.name == name),
            "no fault is named {name}; there are: {}",
            FAULTS.map(|fault| fault.name).join(", ")
        );
    }
    let wanted: Vec<&Fault> = FAULTS
        .iter()
        .filter(|fault| args.names.is_empty() || args.names.iter().any(|name| name == fault.name))
        .collect();
    stage("tools of this machine", deps::run)?;
    let broken = stage("agents that are broken on purpose", || build(&wanted))?;
    let programs = stage("agent, collector, guest", matrix::build)?;
    let mut wrong = 0;
    for fault in &wanted {
        let mut folders = vec![programs.clone()];
        if let How::Agent(_) = fault.how {
            folders.insert(0, broken.join(fault.name));
        }
        let seen = stage(&format!("{} on {}", fault.name, fault.kernel), || {
            red_cells(fault, &folders)
        });
        let verdict = match &seen {
            Ok(seen) => judge(fault, seen),
            Err(error) => Err(format!("{error:#}")),
        };
        match verdict {
            Ok(words) => say(&format!("ok   {}: {words}", fault.name))?,
            Err(words) => {
                wrong += 1;
                say(&format!("FAIL {}: {words}", fault.name))?;
            }
        }
    }
    say(&format!("{} passed, {wrong} failed", wanted.len() - wrong))?;
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds the agents that are broken, each into a folder with the fault's name.
fn build(faults: &[&Fault]) -> Result<PathBuf> {
    let into = workspace::root().join("target/faults");
    for fault in faults {
        let How::Agent(define) = fault.how else {
            continue;
        };
        let folder = into.join(fault.name);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        // The selection of what is shipped, so that only the programs are built anew.
        child::run(
            child::cargo_build_shipped(&workspace::root())?.env("WAYBILL_BPF_FAULT", define),
        )?;
        let built = workspace::binaries("release")?.join("waybill-agent");
        rootfs::strip(&built, &folder.join("waybill-agent"))?;
    }
    Ok(into)
}

/// The red cells of one run.
fn red_cells(fault: &Fault, folders: &[PathBuf]) -> Result<BTreeSet<String>> {
    let output = workspace::root().join("target/faults/outcome.json");
    let mut command = Command::new(matrix::program()?);
    command
        .current_dir(workspace::root())
        .args(["run", "--kernel", fault.kernel, "--format", "json"])
        .arg("--output")
        .arg(&output)
        .stdin(Stdio::null());
    for folder in folders {
        command.arg("--programs").arg(folder);
    }
    for check in fault.checks {
        command.args(["--check", check]);
    }
    if let How::Guest = fault.how {
        command.args(["--fault", fault.name]);
    }
    // 1 is what a red cell makes of it; whatever else went wrong leaves no result.
    fs::remove_file(&output).ok();
    command.status().context("start the matrix")?;
    cells(&output)
}

/// Names of the red cells in a result.
fn cells(result: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(result).context("the matrix left no result")?;
    let outcomes: Value = serde_json::from_str(&text).context("read the result")?;
    let outcome = &outcomes[0];
    ensure!(
        outcome["infrastructure"].is_null(),
        "the guest was never ready: {}",
        outcome["infrastructure"]
    );
    let cells = outcome["cells"]
        .as_array()
        .context("a result without cells")?;
    ensure!(!cells.is_empty(), "a result without cells");
    Ok(cells
        .iter()
        .filter(|cell| cell["status"] == "fail")
        .filter_map(|cell| cell["name"].as_str().map(String::from))
        .collect())
}

/// Whether the red cells are exactly those that must be.
fn judge(fault: &Fault, seen: &BTreeSet<String>) -> Result<String, String> {
    let meant = |pattern: &str, cell: &str| match pattern.strip_suffix('*') {
        Some(start) => cell.starts_with(start),
        None => cell == pattern,
    };
    let unseen = fault
        .red
        .iter()
        .find(|pattern| !seen.iter().any(|cell| meant(pattern, cell)));
    if let Some(pattern) = unseen {
        return Err(format!("{pattern} did not turn red, only {seen:?}"));
    }
    let other = seen
        .iter()
        .find(|cell| !fault.red.iter().any(|pattern| meant(pattern, cell)));
    match other {
        Some(cell) => Err(format!("{cell} turned red as well")),
        None if seen.is_empty() => Ok("nothing is red, as it must be".into()),
        None => Ok(format!("red: {}", join(seen))),
    }
}

fn join(cells: &BTreeSet<String>) -> String {
    cells
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{FAULTS, Fault, How, judge};

    const FAULT: Fault = Fault {
        name: "x",
        kernel: "k",
        checks: &["edges"],
        how: How::Guest,
        red: &["edges/*", "run/mode"],
    };

    fn seen(cells: &[&str]) -> BTreeSet<String> {
        cells.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn exactly_the_right_cells_must_be_red() {
        assert!(judge(&FAULT, &seen(&["edges/a", "edges/b", "run/mode"])).is_ok());
        let silent = judge(&FAULT, &seen(&["edges/a"])).unwrap_err();
        assert!(silent.contains("run/mode did not turn red"), "{silent}");
        let more = judge(&FAULT, &seen(&["edges/a", "harm/x", "run/mode"])).unwrap_err();
        assert!(more.contains("harm/x turned red as well"), "{more}");
    }

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        let names: BTreeSet<_> = FAULTS.iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), FAULTS.len());
    }
}
