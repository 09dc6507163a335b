//! The agent in the file systems of other releases: the same edges, and nothing left there.
//!
//! `cargo xtask userland` makes these file systems and runs these trials.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::needs::Skip;
use tests::lab::site::{Middlebox, Nat};

use crate::case::{Case, case};
use crate::nat;
use crate::scene::Scene;

pub(crate) const CASES: &[Case] = &[
    case("userland::debian_bullseye", |lab| edges(lab, "bullseye")),
    case("userland::debian_bookworm", |lab| edges(lab, "bookworm")),
    case("userland::debian_trixie", |lab| edges(lab, "trixie")),
];

/// Directory with a root directory for each release.
pub(crate) const GIVEN: &str = "WAYBILL_USERLANDS";

fn edges(lab: &Lab, release: &str) -> Result<()> {
    let given = std::env::var_os(GIVEN).map(PathBuf::from);
    let root = given.map(|given| given.join(release));
    let root = root.filter(|root| root.is_dir()).ok_or_else(|| {
        Skip(format!(
            "no file system of {release}: `cargo xtask userland` makes it"
        ))
    })?;
    let mut scene = Scene::bare(lab, 1, 2, Nat::FullNat, Middlebox::Plain)?;
    for host in scene.site.clients.iter().chain(&scene.site.backends) {
        host.use_userland(&root);
    }
    scene.start_agents()?;
    for agent in &scene.agents {
        let report = agent.ask_json(&["doctor"])?;
        let mode = report["plan"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|row| row[0] == "mode")
            .and_then(|row| row[1].as_str())
            .context("a report without a mode")?;
        let running = agent.status()?.mode;
        ensure!(
            mode.starts_with(&running),
            "doctor says {mode}, the agent runs {running}"
        );
        let own = Path::new("/proc")
            .join(agent.pid()?.to_string())
            .join("root");
        ensure!(
            !own.join("etc/os-release").exists(),
            "the agent still sees the release's files"
        );
    }
    let servers = nat::start_servers(&scene.site, &[])?;
    nat::prove(&mut scene, Nat::FullNat, &servers, &[])?;
    for agent in &scene.agents {
        let place = lab.directory().strip_prefix("/").context("absolute")?;
        untouched(&agent.host.userland_changes(), place)?;
    }
    Ok(())
}

/// Nothing was written but the way to the place of the lab's own files.
fn untouched(changes: &Path, place: &Path) -> Result<()> {
    let mut folder = changes.to_owned();
    ensure!(folder.is_dir(), "the agent did not run there");
    let mut way = place.iter();
    loop {
        let entries: Vec<PathBuf> = folder
            .read_dir()?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        let next = way.next();
        let strange = entries
            .iter()
            .find(|entry| next.is_none() || entry.file_name() != next || !entry.is_dir());
        ensure!(
            strange.is_none(),
            "changed in the release's file system: {strange:?}"
        );
        match entries.first() {
            Some(entry) => folder.clone_from(entry),
            None => return Ok(()),
        }
    }
}

/// Whether these trials were asked for.
pub(crate) fn wanted() -> bool {
    std::env::var_os(GIVEN).is_some_and(|given| given != OsStr::new(""))
}
