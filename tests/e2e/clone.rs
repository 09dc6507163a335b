//! Mode `tc-clone`: copies carry the option, originals stay as they were, and filters leave no
//! trace.

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::site::{Middlebox, Nat};

use crate::case::Case;
use crate::nat::{prove, start_servers};
use crate::scene::Scene;

pub(crate) const CASES: &[Case] = &[Case {
    name: "clone::copies_are_read_from_copies_through_snat",
    needs: &[],
    alone: false,
    run: |lab| pair(lab, Nat::Snat, "tc-clone", "tc-clone"),
}];

/// Settings that force a mode.
fn mode(name: &str) -> Result<Settings> {
    Settings::default().with("option.mode", &format!("\"{name}\""))
}

/// Agents on both sides, each in its mode; every edge must be there with every connection.
fn pair(lab: &Lab, shape: Nat, clients: &str, backends: &str) -> Result<()> {
    let mut scene = Scene::bare(lab, 2, 2, shape, Middlebox::Plain)?;
    scene.start_with(&mode(clients)?, &mode(backends)?)?;
    for (host, wanted) in [
        (&scene.site.clients[0], clients),
        (&scene.site.backends[0], backends),
    ] {
        let status = scene.agent(host)?.status()?;
        ensure!(status.mode == wanted, "{}: {:?}", status.mode, status.plan);
    }
    let servers = start_servers(&scene.site, &[])?;
    prove(&mut scene, shape, &servers, &[])?;
    ensure!(
        scene.site.conntrack_invalid()? == 0,
        "packets that conntrack calls invalid"
    );
    Ok(())
}
