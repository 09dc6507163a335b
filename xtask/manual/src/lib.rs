//! What operators read and complete, made from what the programs are: the description of the
//! command lines is clap's, that of the configuration the packaged example, which documents every
//! key. Only exit status, files and the like are written by hand, in `packaging/man`.

#![forbid(unsafe_code)]

mod commands;
mod configuration;
mod roff;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;

/// A program and its configuration.
struct Program {
    name: &'static str,
    command: fn() -> clap::Command,
    /// Name of the file in `/etc/waybill`; its example is in `packaging/config`.
    config: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "waybill-agent",
        command: agent::cli::Cli::command,
        config: "agent.toml",
    },
    Program {
        name: "waybill-collector",
        command: collector::cli::Cli::command,
        config: "collector.toml",
    },
];

/// Writes everything below `out`; `date` is that of the pages, `YYYY-MM-DD`.
///
/// # Errors
/// When a file of `packaging/` is missing, or the file system refuses.
pub fn write(workspace: &Path, date: &str, out: &Path) -> Result<()> {
    let packaging = workspace.join("packaging");
    for program in &PROGRAMS {
        let name = program.name;
        let by_hand = read(&packaging.join(format!("man/{name}.8")))?;
        let page = commands::page((program.command)(), &by_hand, date)?;
        save(&out.join(format!("man8/{name}.8")), &page)?;
        let example = read(&packaging.join(format!("config/{}.example", program.config)))?;
        let page = configuration::page(name, program.config, &example, date);
        save(&out.join(format!("man5/{name}.toml.5")), &page)?;
        for (shell, folder, file) in [
            (Shell::Bash, "bash", name.to_owned()),
            (Shell::Zsh, "zsh", format!("_{name}")),
            (Shell::Fish, "fish", format!("{name}.fish")),
        ] {
            let mut script = Vec::new();
            let mut command = (program.command)();
            clap_complete::generate(shell, &mut command, name, &mut script);
            save(&out.join(folder).join(file), &String::from_utf8(script)?)?;
        }
    }
    let by_hand = read(&packaging.join("man/waybill-bundle.8"))?;
    save(
        &out.join("man8/waybill-bundle.8"),
        &by_hand.replace("@DATE@", date),
    )
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn save(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
