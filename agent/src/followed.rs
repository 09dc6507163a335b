//! What was read at the start and can change: one mechanism, and what follows from it.
//!
//! The operator's files are read by a process outside of the jail (`reader.rs`), what the kernel
//! shows is read here; [`follow::Watch`] says when. What a new content means is decided by values:
//! the configuration is made anew of all its texts, as at the start, and taken or refused as a
//! whole. The event loop applies it.

mod open_files;
mod reader;
mod settings;

use std::path::PathBuf;
use std::time::Instant;

use follow::PERIOD;
use log::{error, info, warn};

use crate::config::{Config, Content, Sources};
use crate::metrics::Metrics;

pub use open_files::OpenFiles;
pub use reader::{NAME_FILES, News, Reader};
pub use settings::{SETTINGS, Settings};

/// What is to be done.
#[derive(Debug)]
pub enum Change {
    /// Certificates, tokens or keys of this configuration are in force from now on.
    Secrets(Box<Config>),
    /// Names may be resolved otherwise: worth another try to reach the collector.
    Names,
    /// The host is called this.
    Hostname(String),
}

/// Everything that is followed, and what it is now.
#[derive(Debug)]
pub struct Followed {
    /// None after it ended.
    reader: Option<Reader>,
    /// The configuration file, and what it was made of; the file's own text stays that of the start.
    file: PathBuf,
    sources: Sources,
    /// The files of the reader, by their number; the first is the configuration's own.
    paths: Vec<PathBuf>,
    /// Something changed, and more of it may be to come.
    pending: bool,
    /// Why the last change was refused.
    refused: Option<String>,
    is_config_changed: bool,
    settings: Settings,
    open_files: OpenFiles,
    /// When settings were looked at last.
    looked: Option<Instant>,
    /// Whether a configuration can be used beyond its form.
    check: fn(&Config) -> Result<(), String>,
}

/// The files that the reader is to follow, the configuration's own first.
#[must_use]
pub fn files(config: &Config) -> Vec<(PathBuf, Content)> {
    let own = Content {
        bytes: config.sources.text.clone().into_bytes(),
        // Who may read it is nothing that is compared.
        mode: 0,
    };
    let named = config.sources.files.iter();
    let named = named.map(|(path, content)| (path.clone(), content.clone()));
    std::iter::once((config.file.clone(), own))
        .chain(named)
        .collect()
}

impl Followed {
    /// Follows what `config` was made of, by `reader` where there is one.
    #[must_use]
    pub fn new(
        config: &Config,
        reader: Option<Reader>,
        (settings, open_files): (Settings, OpenFiles),
        check: fn(&Config) -> Result<(), String>,
    ) -> Self {
        Self {
            reader,
            file: config.file.clone(),
            sources: config.sources.clone(),
            paths: files(config).into_iter().map(|(path, _)| path).collect(),
            pending: false,
            refused: None,
            is_config_changed: false,
            settings,
            open_files,
            looked: None,
            check,
        }
    }

    /// Process id of the reader.
    #[must_use]
    pub fn process(&self) -> Option<i32> {
        self.reader.as_ref().map(Reader::process)
    }

    /// Has everything read again at once.
    pub fn ask(&mut self) {
        if let Some(reader) = &self.reader {
            reader.ask();
        }
        self.looked = None;
    }

    /// Takes what changed since the last call.
    pub fn tend(&mut self, now: Instant, metrics: &Metrics) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(reader) = &mut self.reader {
            match reader.hear() {
                Ok(news) => {
                    for one in news {
                        changes.extend(self.take(one, metrics));
                    }
                }
                Err(error) => {
                    warn!(error:% = error; "files are not followed any more");
                    self.reader = None;
                }
            }
        }
        let due = self
            .looked
            .is_none_or(|at| now.saturating_duration_since(at) >= PERIOD);
        if due {
            self.looked = Some(now);
            changes.extend(self.settings.look().map(Change::Hostname));
            if self.open_files.look(follow::no_more_files(), now) {
                metrics.open_files_exhausted_total.add(1);
            }
        }
        metrics
            .followed_settings_changed
            .set(self.settings.changed().len() as u64);
        metrics
            .followed_configuration_changed
            .set(self.is_config_changed.into());
        changes
    }

    fn take(&mut self, news: News, metrics: &Metrics) -> Option<Change> {
        match news {
            News::File(0, content) => {
                let text = content.map(|content| content.bytes);
                let differs = text.as_deref() != Ok(self.sources.text.as_bytes());
                self.is_config_changed = differs;
                if differs {
                    warn!("the configuration file has changed: it is in force after a restart");
                }
                None
            }
            News::File(number, content) => {
                let path = self.paths.get(number)?;
                match content {
                    Ok(content) => {
                        self.sources.files.insert(path.clone(), content);
                        self.pending = true;
                    }
                    Err(why) => {
                        let path = path.display().to_string();
                        self.refuse(&format!("cannot read {path}: {why}"), metrics);
                    }
                }
                None
            }
            News::Names(Ok(())) => {
                metrics.followed_names_total.add(1);
                info!("resolver or hosts have changed");
                Some(Change::Names)
            }
            News::Names(Err(why)) => {
                self.refuse(&why, metrics);
                None
            }
            News::Looked if self.pending => {
                self.pending = false;
                self.read(metrics)
            }
            News::Looked => None,
        }
    }

    /// Makes the configuration anew; what cannot be used changes nothing.
    fn read(&mut self, metrics: &Metrics) -> Option<Change> {
        let read = self
            .sources
            .read(&self.file)
            .map_err(|error| error.to_string());
        match read.and_then(|config| (self.check)(&config).map(|()| config)) {
            Ok(config) => {
                metrics.followed_taken_total.add(1);
                self.refused = None;
                info!("certificates, tokens or keys have changed and are in force");
                Some(Change::Secrets(Box::new(config)))
            }
            Err(why) => {
                self.refuse(&why, metrics);
                None
            }
        }
    }

    fn refuse(&mut self, why: &str, metrics: &Metrics) {
        metrics.followed_refused_total.add(1);
        error!(error = why; "a changed file cannot be used, what was read before stays");
        self.refused = Some(why.to_owned());
    }

    /// Rows of the plan: what is not as it was at the start and is not in force.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |name: &str, said: String| rows.push((name.to_owned(), said));
        if let Some(why) = &self.refused {
            row("changed_files", format!("not in force: {why}"));
        }
        if self.is_config_changed {
            let said = "it is in force after a restart";
            row("changed_configuration", said.to_owned());
        }
        if self.reader.is_none() {
            let said = "files are not followed: their changes are in force after a restart";
            row("changed_files", said.to_owned());
        }
        for said in self.settings.changed() {
            row("changed_settings", said);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;

    const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");
    const EXAMPLE: &str = include_str!("../../packaging/config/agent.toml.example");

    /// The table of what is followed.
    fn table() -> String {
        let (_, section) = OPERATIONS.split_once("## What is followed\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| "));
        rows.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn operators_find_everything_that_is_followed_in_the_table() {
        let table = table();
        let settings = SETTINGS.map(|path| path.trim_start_matches("sys/").replace('/', "."));
        let mut section = String::new();
        let mut keys = Vec::new();
        for line in EXAMPLE.lines().map(|line| line.trim_start_matches('#')) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_matches(['[', ']']).to_owned();
            }
            let key = line.split_once(" = ").map(|(key, _)| key);
            // Some stand in a sentence.
            let key = key.and_then(|key| key.rsplit(' ').next());
            let file = key.filter(|key| key.ends_with("_file"));
            keys.extend(file.map(|key| format!("{section}.{key}")));
        }
        assert!(keys.len() >= 7, "{keys:?}");
        let names = NAME_FILES.map(str::to_owned);
        for what in settings.iter().chain(&keys).chain(&names) {
            assert!(
                table.contains(&format!("`{what}`")),
                "{what} is not in the table"
            );
        }
    }

    fn followed(text: &str, check: fn(&Config) -> Result<(), String>) -> Followed {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        std::fs::write(at("key"), "00112233445566778899aabbccddeeff\n").unwrap();
        let text = text.replace("KEY", &at("key").display().to_string());
        std::fs::write(at("agent.toml"), text).unwrap();
        let config = crate::config::load(&at("agent.toml")).unwrap();
        let none = Path::new("/none");
        let seen = (Settings::new(none, false), OpenFiles::new(none));
        Followed::new(&config, None, seen, check)
    }

    fn content(text: &str) -> Content {
        Content {
            bytes: text.into(),
            mode: 0o600,
        }
    }

    const TEXT: &str = "[[key]]\nepoch = 1\nsecret_file = \"KEY\"\n";
    const NEXT: &str = "ffeeddccbbaa99887766554433221100\n";

    #[test]
    fn a_changed_file_is_taken_when_all_of_the_change_is_there_and_a_broken_one_changes_nothing() {
        let metrics = Metrics::default();
        let mut followed = followed(TEXT, |_| Ok(()));
        let take = |followed: &mut Followed, news| followed.take(news, &metrics);
        assert!(take(&mut followed, News::File(1, Ok(content(NEXT)))).is_none());
        let Some(Change::Secrets(config)) = take(&mut followed, News::Looked) else {
            panic!("nothing changed");
        };
        assert_eq!(config.keys[0].secret.expose()[0], 0xff);
        for broken in [Ok(content("short")), Err("permission denied".to_owned())] {
            take(&mut followed, News::File(1, broken));
            assert!(take(&mut followed, News::Looked).is_none());
            let said = format!("{:?}", followed.rows());
            assert!(said.contains("not in force"), "{said}");
        }
        assert_eq!(metrics.followed_refused_total.get(), 2);
        take(&mut followed, News::File(1, Ok(content(NEXT))));
        assert!(take(&mut followed, News::Looked).is_some());
        assert!(!format!("{:?}", followed.rows()).contains("not in force"));
        assert_eq!(metrics.followed_taken_total.get(), 2);
    }

    #[test]
    fn what_cannot_be_used_beyond_its_form_changes_nothing_either() {
        let metrics = Metrics::default();
        let mut followed = followed(TEXT, |_| Err("certificate and key do not fit".into()));
        followed.take(News::File(1, Ok(content(NEXT))), &metrics);
        assert!(followed.take(News::Looked, &metrics).is_none());
        assert!(format!("{:?}", followed.rows()).contains("do not fit"));
    }

    #[test]
    fn a_changed_configuration_is_said_until_it_is_as_it_was() {
        let metrics = Metrics::default();
        let mut followed = followed(TEXT, |_| Ok(()));
        let text = followed.sources.text.clone();
        let changed = |followed: &Followed| {
            let rows = followed.rows();
            rows.iter().any(|(name, _)| name == "changed_configuration")
        };
        followed.take(News::File(0, Ok(content("x = 1"))), &metrics);
        assert!(changed(&followed));
        followed.take(News::File(0, Ok(content(&text))), &metrics);
        assert!(!changed(&followed));
        followed.take(
            News::File(0, Err(io::Error::other("gone").to_string())),
            &metrics,
        );
        assert!(changed(&followed));
    }
}
