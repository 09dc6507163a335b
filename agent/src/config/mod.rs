//! What the program needs from the operator: validated, complete, and without globals.
//!
//! `raw.rs` holds what was written; [`load`] turns it into [`Config`], reads every file the
//! configuration names (secrets, certificates) while the host's file system is still in sight,
//! and reports all mistakes at once. The one who calls is `startup.rs`.

mod bounds;
mod check;
mod families;
mod files;
mod raw;
mod section;
#[cfg(test)]
mod tests;
mod types;
mod upload;
mod validate;
pub mod value;

use std::path::Path;

pub use files::{Content, MAX_FILE, read};
pub use types::{
    Agent, Budget, Config, Credentials, Error, FamilySetting, HooksSetting, Jail, Key, Limits,
    ListsSetting, Log, MAX_KEYS, ModeSetting, Scope, SeccompSetting, ServiceRule, Sources, Spool,
    TransportSetting, Upload, WaybillOption,
};
pub use value::prefix::Prefix;
pub use value::{ByteSize, CpuShare, ExId, Glob, OptionKind, Secret};

/// Where the packaged configuration lives.
pub const DEFAULT_FILE: &str = "/etc/waybill/agent.toml";

impl Sources {
    /// The configuration that these make; no file is read.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn read(&self, file: &Path) -> Result<Config, Error> {
        parse(file, &self.text, &mut |path| {
            let found = self.files.get(path).cloned();
            found.ok_or_else(|| std::io::ErrorKind::NotFound.into())
        })
    }
}

impl Config {
    /// What an empty file would mean, for reports where there is none: without a fleet key, which
    /// a real configuration must have while the option is enabled.
    #[must_use]
    pub fn defaults() -> Self {
        let (file, text) = (Path::new(DEFAULT_FILE), "option.enabled = false");
        let mut config =
            parse(file, text, &mut read).expect("an empty configuration is valid: a test loads it");
        config.option.enabled = true;
        config
    }

    /// Whether the operator wants a family, by its name.
    #[must_use]
    pub fn family(&self, name: &str) -> FamilySetting {
        self.families.get(name).copied().unwrap_or_default()
    }
}

/// Reads and validates `file` and the files it names.
///
/// # Errors
/// All mistakes at once, each with file, line, key and what was expected.
pub fn load(file: &Path) -> Result<Config, Error> {
    let refuse = |why: String| Error {
        problems: vec![format!("{}: {why}", file.display())],
    };
    let content = read(file).map_err(|error| refuse(format!("cannot read: {error}")))?;
    let text = String::from_utf8(content.bytes).map_err(|error| {
        let what = follow::unseen(error.as_bytes());
        refuse(what.map_or_else(|| "is not UTF-8".into(), |what| format!("is {what}")))
    })?;
    parse(file, &text, &mut read)
}

/// [`load`] with the text at hand and a reader for the files it names.
fn parse(
    file: &Path,
    text: &str,
    read: &mut dyn FnMut(&Path) -> std::io::Result<Content>,
) -> Result<Config, Error> {
    let mut problems = section::Problems::new(file.display().to_string(), text);
    if let Some(raw) = raw::Raw::parse(&mut problems) {
        let mut config = validate::validate(raw, &mut files::Files::new(file, read), &mut problems);
        text.clone_into(&mut config.sources.text);
        if problems.list.is_empty() {
            return Ok(config);
        }
    }
    Err(Error {
        problems: problems.list,
    })
}
