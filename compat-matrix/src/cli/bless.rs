//! `bless`: what the last run showed becomes what must be.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Place;
use super::arguments::Selection;
use crate::baseline;
use crate::golden::Golden;
use crate::judge::Outcome;
use crate::matrix::INFRASTRUCTURE;
use crate::runner;
use crate::support;

impl Place {
    pub(super) fn bless(&self, selection: &Selection) -> Result<u8> {
        let folder = self.folder.as_ref().context(
            "blessing needs the source tree: name the folder of matrix.toml with --matrix",
        )?;
        for kernel in self.selected(selection)? {
            if kernel.verdict.as_deref() == Some(INFRASTRUCTURE) {
                // It shows how a kernel breaks, and nothing of Waybill.
                continue;
            }
            let outcome = runner::last(&self.runs(), &kernel.id)?;
            bless_one(folder, &outcome)?;
            self.progress.say(&kernel.id, "blessed");
        }
        let golden = |id: &str| {
            let text = fs::read_to_string(folder.join(format!("expected/{id}.toml"))).ok()?;
            Golden::parse(&text).ok()
        };
        let path = folder.join("SUPPORT.md");
        fs::write(&path, support::text(&self.matrix, &golden))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(0)
    }
}

/// Takes an outcome as what must be; one that failed for another reason than its golden is not.
fn bless_one(folder: &Path, outcome: &Outcome) -> Result<()> {
    if outcome.infrastructure.is_some() {
        bail!(
            "{}: nothing is known of it, so there is nothing to bless",
            outcome.id
        );
    }
    let is_compared = |name: &str| name == "golden" || name.starts_with("verifier");
    if let Some(red) = outcome.red().find(|cell| !is_compared(&cell.name)) {
        bail!("{}: {} failed: {}", outcome.id, red.name, red.reason);
    }
    let write = |path: PathBuf, text: String| {
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    for below in ["expected", "verifier"] {
        fs::create_dir_all(folder.join(below))?;
    }
    let id = &outcome.id;
    write(
        folder.join(format!("expected/{id}.toml")),
        Golden::of(&outcome.record).text()?,
    )?;
    write(
        folder.join(format!("verifier/{id}.csv")),
        baseline::text(&outcome.record.verifier),
    )
}
