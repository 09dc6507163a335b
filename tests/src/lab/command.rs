//! Short tools (`ip`, `nft`, ...) run to their end.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `command` with `input` on its standard input and returns its standard output.
///
/// # Errors
/// When it cannot be started or ends with another status than 0; then with its standard error.
pub fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    let output = finish(command, input)?;
    if !output.status.success() {
        bail!(
            "{} ended with {}: {}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", line(command)))
}

/// Runs `command` without input and returns its standard output.
///
/// # Errors
/// As [`run_with_input`].
pub fn run(command: &mut Command) -> Result<String> {
    run_with_input(command, "")
}

/// Runs `command` to its end, whatever its status.
///
/// # Errors
/// Only when it cannot be started or fed.
pub fn finish(command: &mut Command, input: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", line(command)))?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    // Tools in labs read their whole input before they write, so this cannot block for ever.
    let fed = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child
        .wait_with_output()
        .with_context(|| format!("wait for {}", line(command)))?;
    if output.status.success() {
        fed.with_context(|| format!("feed {}", line(command)))?;
    }
    Ok(output)
}

/// Whether `program` can be found and started.
#[must_use]
pub fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}

/// The command as one would type it.
#[must_use]
pub fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_reaches_the_tool_and_output_comes_back() {
        assert_eq!(
            run_with_input(&mut Command::new("cat"), "salt").unwrap(),
            "salt"
        );
    }

    #[test]
    fn a_failed_tool_is_named_with_its_own_words() {
        let error = run(Command::new("ls").arg("/no/such/file"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ls /no/such/file") && error.contains("No such file"),
            "{error}"
        );
    }
}
