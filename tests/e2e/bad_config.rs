//! Broken configurations: each wrong key or value is named with its file and what was expected.

use std::process::Command;

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::Collector;
use tests::lab::command;

use crate::case::{Case, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "badinput::the_agent_names_every_mistake_of_its_configuration",
        agent,
    ),
    case(
        "badinput::the_collector_names_every_mistake_of_its_configuration",
        collector,
    ),
];

/// Exit code for wrong arguments or configuration.
const USAGE: Option<i32> = Some(2);

fn agent(lab: &Lab) -> Result<()> {
    let wrong = [
        ("agent.intervall", "'1s'"),
        ("agent.interval", "'soon'"),
        ("agent.rootfs", "'relative'"),
        ("scope.cgroup", "'../..'"),
        ("option.kind", "8"),
        ("option.exid", "'0x5742'"),
        ("option.destinations", "['10.0.0.0/99']"),
        ("option.enabled", "'yes'"),
        ("limits.ring_bytes", "'100KiB'"),
        ("limits.connections", "-1"),
        ("spool.max_age", "'forever'"),
        ("upload.url", "'ftp://collector'"),
        ("upload.ca_file", "'/no/such/file'"),
        ("log.level", "'loud'"),
        ("nothing.at_all", "1"),
    ];
    for (number, (key, value)) in wrong.into_iter().enumerate() {
        let host = lab.host(&format!("h{number}"))?;
        let settings = Settings::default().with(key, value)?;
        let mut agent = Agent::prepare(lab, &host, None, &settings)?;
        let file = agent.config_file().display().to_string();
        let checked = agent.ask(&["check-config"])?;
        let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        let named = if key.starts_with("nothing") {
            "nothing"
        } else {
            key
        };
        for part in [&file, named, "expected"] {
            ensure!(
                said.contains(part),
                "{key} = {value}: no {part:?} in {said}"
            );
        }
        ensure!(
            checked.status.code() == USAGE,
            "{key} = {value}: {}",
            checked.status
        );
        agent.start_unready()?;
        let status = agent.running_mut()?.wait(crate::case::SOON)?;
        ensure!(
            status.code() == USAGE,
            "{key} = {value}: run ended with {status}"
        );
    }
    Ok(())
}

fn collector(lab: &Lab) -> Result<()> {
    let collector = Collector::prepare(lab, "")?;
    let good = std::fs::read_to_string(collector.config_file())?;
    // What is changed, and the key that the message must name.
    let wrong = [
        ("address = \"", "address = \"nowhere", "listen.address"),
        (
            "cert_file = \"",
            "cert_file = \"/no/such",
            "listen.cert_file",
        ),
        (
            "agent_token_file = \"",
            "agent_token_file = \"/no/such",
            "auth.agent_token_file",
        ),
        ("path = \"", "pathh = \"", "store.pathh"),
        (
            "[store]\n",
            "[store]\nretention = \"long\"\n",
            "store.retention",
        ),
        (
            "[store]\n",
            "[limits]\nbatch_rows = \"many\"\n[store]\n",
            "limits.batch_rows",
        ),
        ("[store]\n", "[surprise]\nx = 1\n[store]\n", "surprise"),
    ];
    for (from, to, named) in wrong {
        let file = lab.directory().join("broken.toml");
        std::fs::write(&file, good.replacen(from, to, 1))?;
        let shown = file.display().to_string();
        for verb in ["check-config", "serve"] {
            let mut run = Command::new(collector.binary());
            let ended = command::finish(run.arg(verb).arg("--config").arg(&file), "")?;
            let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
            ensure!(
                said.contains(named),
                "{verb} with {to:?}: no {named:?} in {said}"
            );
            ensure!(
                said.contains(&shown),
                "{verb} with {to:?}: the file is not named in {said}"
            );
            ensure!(
                ended.status.code() == USAGE,
                "{verb} with {to:?}: {}",
                ended.status
            );
        }
    }
    Ok(())
}
