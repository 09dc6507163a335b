//! What lintian and rpmlint say of finished packages: nothing that is not overridden with a reason.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::release::Release;
use crate::stage::say;
use crate::workspace;

/// Runs both over the packages that are theirs.
///
/// # Errors
/// With everything that they complain of; also when one is missing.
pub(super) fn check(release: &Release, files: &[PathBuf]) -> Result<()> {
    let of = |end: &str| {
        let fits = move |file: &&PathBuf| file.to_string_lossy().ends_with(end);
        files.iter().filter(fits).collect::<Vec<_>>()
    };
    let debs = of(".deb");
    let mut lintian = release.tool("lintian");
    // Pedantic remarks are a matter of taste; experimental ones are not told either.
    lintian.args([
        "--fail-on",
        "error,warning,info",
        "--display-info",
        "--tag-display-limit",
        "0",
    ]);
    lintian.args(["--no-cfg", "--allow-root"]).args(&debs);
    silent(&mut lintian)?;
    let rpms = of(".rpm");
    let mut rpmlint = release.tool("rpmlint");
    let rules = workspace::root().join("packaging/rpm/rpmlint.toml");
    rpmlint.arg("--config").arg(rules).args(&rpms);
    silent(&mut rpmlint)?;
    say(&format!(
        "{} deb and {} rpm, nothing to say",
        debs.len(),
        rpms.len()
    ))
}

/// Runs a checker, and fails with what it says of errors, warnings or what could be better.
fn silent(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("start {name}"))?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = said.lines().filter(|line| is_complaint(line)).collect();
    if !complaints.is_empty() || !output.status.success() {
        let said = if complaints.is_empty() {
            said.to_string()
        } else {
            complaints.join("\n")
        };
        bail!("{name}: {}:\n{said}", output.status);
    }
    Ok(())
}

/// `E: package: tag` of lintian, `package.arch: E: tag` of rpmlint.
fn is_complaint(line: &str) -> bool {
    let kinds = ["E:", "W:", "I:"];
    let mut words = line.split_whitespace();
    let (first, second) = (words.next(), words.next());
    [first, second]
        .into_iter()
        .flatten()
        .any(|word| kinds.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::is_complaint;

    #[test]
    fn complaints_of_both_are_told_from_their_other_words() {
        assert!(is_complaint(
            "E: waybill-agent: statically-linked-binary [usr/bin/x]"
        ));
        assert!(is_complaint("waybill-agent.x86_64: W: no-documentation"));
        assert!(!is_complaint("N: 3 hints overridden"));
        assert!(!is_complaint(
            "4 packages and 0 specfiles checked; 0 errors, 0 warnings, 5 filtered"
        ));
    }
}
