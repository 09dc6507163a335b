//! Which mirror this machine is configured to use; the project names none.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Where Debian's suites are had from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    main: String,
    security: Option<String>,
}

/// One place that a list of sources names, with its suites.
type Source = (String, Vec<String>);

impl Mirror {
    /// A mirror given by hand; its security archive is beside it, as on Debian's own.
    #[must_use]
    pub fn given(uri: &str) -> Self {
        let main = uri.trim_end_matches('/').to_owned();
        Self {
            security: beside(&main),
            main,
        }
    }

    /// The mirror in the configuration below `etc` (`/etc/apt` of a Debian machine).
    ///
    /// # Errors
    /// When no source of Debian is configured there.
    pub fn configured(etc: &Path) -> Result<Self> {
        let mut sources = Vec::new();
        let mut files = vec![etc.join("sources.list")];
        if let Ok(entries) = fs::read_dir(etc.join("sources.list.d")) {
            files.extend(entries.flatten().map(|entry| entry.path()));
        }
        files.sort();
        for file in files {
            let Ok(text) = fs::read_to_string(&file) else {
                continue;
            };
            match file.extension().and_then(|end| end.to_str()) {
                Some("list") => sources.extend(one_line(&text)),
                Some("sources") => sources.extend(stanzas(&text)),
                _ => {}
            }
        }
        Self::among(&sources).context(
            "no Debian mirror is configured on this machine: name one with --mirror, \
             or give the kernel's packages with --kernel",
        )
    }

    fn among(sources: &[Source]) -> Option<Self> {
        let path = |source: &&Source, end: &str| source.0.ends_with(end);
        let main = sources.iter().find(|source| path(source, "/debian"))?;
        let security = sources.iter().find(|source| {
            path(source, "/debian-security") || source.1.iter().any(|s| s.ends_with("-security"))
        });
        Some(Self {
            main: main.0.clone(),
            security: security
                .map(|source| source.0.clone())
                .or_else(|| beside(&main.0)),
        })
    }

    /// The place of a suite.
    ///
    /// # Errors
    /// When it is a security suite and no place for these is known.
    pub fn of(&self, suite: &str) -> Result<&str> {
        if suite.ends_with("-security") {
            return self
                .security
                .as_deref()
                .context("no mirror of security suites is known");
        }
        Ok(&self.main)
    }
}

fn beside(main: &str) -> Option<String> {
    main.strip_suffix("/debian")
        .map(|host| format!("{host}/debian-security"))
}

/// `deb [options] URI suite components`, one each line.
fn one_line(text: &str) -> Vec<Source> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next()?.trim().strip_prefix("deb ")?.trim();
            let line = match line.strip_prefix('[') {
                Some(options) => options.split_once(']')?.1,
                None => line,
            };
            let mut words = line.split_whitespace();
            let uri = words.next()?.trim_end_matches('/').to_owned();
            Some((uri, vec![words.next()?.to_owned()]))
        })
        .collect()
}

/// Paragraphs of `Key: value`; one can name several places and suites.
fn stanzas(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |key: &str| -> Vec<String> {
            stanza
                .lines()
                .filter_map(|line| line.split_once(':'))
                .filter(|(name, _)| name.eq_ignore_ascii_case(key))
                .flat_map(|(_, value)| value.split_whitespace().map(str::to_owned))
                .collect()
        };
        if field("Enabled").iter().any(|value| value == "no") {
            continue;
        }
        for uri in field("URIs") {
            sources.push((uri.trim_end_matches('/').to_owned(), field("Suites")));
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::{Mirror, one_line, stanzas};

    #[test]
    fn both_forms_of_configuration_are_read() {
        let old = "# deb http://no.example/debian x main\n\
                   deb [signed-by=/k arch=amd64] http://a.example/debian/ bookworm main\n\
                   deb http://b.example/sec bookworm-security main\n";
        let new = "Types: deb\n# old\nURIs: http://a.example/debian\nSuites: bookworm x-updates\n\n\
                   Types: deb\nURIs: http://b.example/sec\nSuites: bookworm-security\n\n\
                   Enabled: no\nURIs: http://c.example/debian\n";
        for sources in [one_line(old), stanzas(new)] {
            let mirror = Mirror::among(&sources).expect("a mirror");
            assert_eq!(mirror.of("sid").unwrap(), "http://a.example/debian");
            assert_eq!(
                mirror.of("bullseye-security").unwrap(),
                "http://b.example/sec"
            );
        }
    }

    #[test]
    fn the_security_archive_is_beside_the_main_one_where_nothing_else_is_said() {
        let mirror = Mirror::given("http://m.example/debian/");
        assert_eq!(mirror.of("trixie").unwrap(), "http://m.example/debian");
        let security = mirror.of("trixie-security").unwrap();
        assert_eq!(security, "http://m.example/debian-security");
    }

    #[test]
    fn a_machine_without_debian_sources_has_no_mirror() {
        assert_eq!(
            Mirror::among(&one_line("deb http://x.example/ubuntu noble main")),
            None
        );
    }
}
