//! `enroll`: gets the host's certificate before the agent runs, by a token that is used once.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};

use crate::cli::EnrollArgs;
use crate::config::Credentials;
use crate::exit::{Exit, Failure, OrExit as _};
use crate::paths::ENROLLED_FILE;
use crate::upload::{Credential, Transport};
use crate::{files, setup};

/// Longest file of a token.
const MAX_TOKEN: u64 = 4096;

/// Runs the command.
///
/// # Errors
/// The configuration or the token cannot be used (2), or the collector gives no certificate (1).
pub fn run(args: &EnrollArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let file = &args.file.config;
    let config = setup::load(file).or_exit(Exit::Usage)?;
    let upload = config.upload.as_ref();
    let upload = upload.filter(|upload| matches!(upload.credentials, Credentials::Enrolled(_)));
    let upload = upload
        .ok_or_else(|| {
            anyhow!(
                "{}: upload.enroll_token_file: missing, expected it to name a file (which may be \
                 gone), so that the agent uses the certificate",
                file.display()
            )
        })
        .or_exit(Exit::Usage)?;
    let token = token(&args.token_file).or_exit(Exit::Usage)?;
    let path = config
        .agent
        .rootfs
        .join(ENROLLED_FILE.trim_start_matches('/'));
    // Before the token is used up.
    let owner = owner(&path).or_exit(Exit::Runtime)?;
    let mut settings = setup::reach(upload);
    if let Some(url) = &args.collector {
        settings.url.clone_from(url);
    }
    settings.credential = Credential::Enrolled {
        token: Some(token),
        file: path.clone(),
    };
    let mut transport = Transport::new(&settings)
        .context("upload")
        .or_exit(Exit::Usage)?;
    let name = transport.enroll().or_exit(Exit::Runtime)?;
    give(&path, owner).or_exit(Exit::Runtime)?;
    writeln!(out, "enrolled as {name}: {}", path.display())
        .context("write the answer")
        .or_exit(Exit::Runtime)
}

fn token(file: &Path) -> Result<String> {
    let expected = || {
        let file = file.display();
        format!("{file}: expected a file with one token of printable ASCII characters")
    };
    let bytes = files::read(file, MAX_TOKEN).with_context(expected)?;
    let text = std::str::from_utf8(&bytes).map(str::trim);
    let text = text
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
    text.map(str::to_owned).with_context(expected)
}

/// User and group to whom the state belongs: the agent's own, once it has run.
fn owner(path: &Path) -> Result<(u32, u32)> {
    let directory = path.parent().context("a file is in a directory")?;
    let owner = directory.metadata().with_context(|| {
        let directory = directory.display();
        format!("{directory}: expected the directory of the agent's state, nothing was asked")
    })?;
    Ok((owner.uid(), owner.gid()))
}

/// Gives the file to the agent. The directory is the agent's, so a link there is not followed: root
/// would give away what it leads to.
fn give(path: &Path, (user, group): (u32, u32)) -> Result<()> {
    files::open_own(File::options().read(true), path)
        .and_then(|file| fchown(file, Some(user), Some(group)))
        .with_context(|| format!("give {} to the agent", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_given_to_the_agent_is_a_file_and_not_where_a_link_leads() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("enrolled.json");
        let elsewhere = place.path().join("elsewhere");
        std::fs::write(&elsewhere, "another's").unwrap();
        symlink(&elsewhere, &file).unwrap();
        let owner = owner(&file).unwrap();
        assert!(give(&file, owner).is_err());
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "{}").unwrap();
        give(&file, owner).unwrap();
    }

    #[test]
    fn without_a_directory_for_the_certificate_the_token_is_not_used_up() {
        let place = tempfile::tempdir().unwrap();
        let error = owner(&place.path().join("lib/enrolled.json")).unwrap_err();
        assert!(error.to_string().contains("nothing was asked"), "{error}");
    }
}
