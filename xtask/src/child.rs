//! Starting other programs: one way to wait for them, one way to become them.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// cargo, the one that started this program, in the workspace's root.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(workspace::root());
    // What cargo told this program of its own package would make build scripts that watch it
    // (that of ring does) run anew whenever a developer calls cargo with and without xtask.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// The build of what is shipped from the source in `root`, whose result does not depend on where
/// source, crates and toolchain are: messages of panics and assertions name files, and so would
/// their folders.
///
/// The very selection of the documents: another one could resolve other features.
///
/// # Errors
/// When the home of cargo or the toolchain's folder is not known.
pub(crate) fn cargo_build_shipped(root: &Path) -> Result<Command> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => home.into(),
        None => Path::new(&std::env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
    };
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let toolchain = output(Command::new(rustc).args(["--print", "sysroot"]))?;
    // Of several prefixes that fit, both compilers take the last one.
    let places = [
        (home.display().to_string(), "/cargo"),
        (toolchain.trim().into(), "/rust"),
        (root.display().to_string(), "/waybill"),
    ];
    let rust = places
        .iter()
        .map(|(place, name)| format!("{:?}", format!("--remap-path-prefix={place}={name}")));
    let c = places
        .iter()
        .map(|(place, name)| format!("-ffile-prefix-map={place}={name}"));
    let mut command = cargo(&["build", "--release", "-p", "agent", "-p", "collector"]);
    // Debug symbols are found by it; not every linker makes one by itself.
    let rust = rust.chain(std::iter::once(
        "\"-Clink-arg=-Wl,--build-id=sha1\"".to_owned(),
    ));
    // Joined with the flags of .cargo/config.toml, which RUSTFLAGS would replace.
    let rust = rust.collect::<Vec<_>>().join(",");
    command.current_dir(root).arg("--config");
    command.arg(format!("target.'cfg(all())'.rustflags=[{rust}]"));
    command.env("CFLAGS", c.collect::<Vec<_>>().join(" "));
    Ok(command)
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started, or ends with anything but success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = shown(command);
    let status = command.status().with_context(|| format!("start {name}"))?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(())
}

/// Runs a program and returns what it wrote to its standard output.
///
/// # Errors
/// When it cannot be started, ends with anything but success, or does not write UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = shown(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("read the output of {name}"))
}

/// Becomes another program.
///
/// The process keeps its id, so signals (Ctrl-C, a supervisor's SIGTERM) reach that program and
/// the caller sees its exit code; there is no parent that could end before it has cleaned up.
///
/// # Errors
/// When it cannot be started; there is no return otherwise.
pub(crate) fn become_program(command: &mut Command) -> Result<ExitCode> {
    let name = shown(command);
    Err(command.exec()).with_context(|| format!("start {name}"))
}

/// A command as a developer would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    std::iter::once(program.file_name().unwrap_or(program.as_os_str()))
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
