//! Maintainer scripts, put together from `packaging/scripts` and the lines of a kind of package.

use anyhow::Result;

use super::stage::Program;
use crate::workspace;

/// The script `<kind>/<step>` of a package, without its first line.
///
/// # Errors
/// When one of its parts is missing.
pub(super) fn script(program: &Program, kind: &str, step: &str) -> Result<String> {
    // What controls services there.
    let manager = if kind == "deb" {
        "debian.sh"
    } else {
        "systemctl.sh"
    };
    let parts = [
        format!("set -e\nNAME={}\n", program.name),
        workspace::read("packaging/scripts/service.sh")?,
        workspace::read(&format!("packaging/scripts/{manager}"))?,
        workspace::read(&format!("packaging/scripts/{}", program.functions))?,
        workspace::read(&format!("packaging/{kind}/{step}"))?,
    ];
    // Words for people and for shellcheck are no use on a host.
    let lines = parts.iter().flat_map(|part| part.lines());
    let lines = lines.filter(|line| !line.trim_start().starts_with('#'));
    let lines: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    Ok(lines.join("\n") + "\n")
}

/// The same as a file that can be executed.
///
/// # Errors
/// As of [`script`].
pub(super) fn file(program: &Program, kind: &str, step: &str) -> Result<String> {
    Ok(format!("#!/bin/sh\n{}", script(program, kind, step)?))
}
