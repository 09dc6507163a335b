//! What a kernel is to be built with: fragments of configuration, the later ones first. Pure.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// One line of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    /// `y`, a number, a quoted text, or `n`.
    value: String,
    /// The fragment that says so.
    fragment: String,
}

/// Options that are asked for, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config(BTreeMap<String, Asked>);

impl Config {
    /// Puts fragments, by name, over one another: the last line about an option wins.
    ///
    /// # Errors
    /// Names the line that is not of a configuration: the kernel's own tools pass over it.
    pub(super) fn merge<'a>(
        fragments: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self> {
        let mut options = BTreeMap::new();
        for (fragment, text) in fragments {
            for (at, line) in text.lines().enumerate() {
                let Some((name, value)) = option(line) else {
                    if line.trim().is_empty() || line.starts_with('#') {
                        continue;
                    }
                    bail!("{fragment}.config, line {}: {line:?}", at + 1);
                };
                let asked = Asked {
                    value: value.to_owned(),
                    fragment: fragment.to_owned(),
                };
                options.insert(name.to_owned(), asked);
            }
        }
        Ok(Self(options))
    }

    /// As the kernel's own tools read it.
    pub(super) fn text(&self) -> String {
        let line = |(name, asked): (&String, &Asked)| match asked.value.as_str() {
            "n" => format!("# {name} is not set\n"),
            value => format!("{name}={value}\n"),
        };
        self.0.iter().map(line).collect()
    }

    /// Whether an option is asked for.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|asked| asked.value != "n")
    }

    /// What is not so in the configuration that came out, a line each.
    pub(super) fn missing(&self, made: &str) -> Vec<String> {
        let made: BTreeMap<&str, &str> = made.lines().filter_map(option).collect();
        let mut lines = Vec::new();
        for (name, asked) in &self.0 {
            let is = made.get(name.as_str()).copied().unwrap_or("n");
            if is != asked.value {
                lines.push(format!(
                    "{name}: {} asks for {}, and it came out as {is}",
                    asked.fragment, asked.value
                ));
            }
        }
        lines
    }
}

/// Name and value in a line: `CONFIG_X=value` or `# CONFIG_X is not set`.
fn option(line: &str) -> Option<(&str, &str)> {
    let (name, value) = match line.strip_prefix("# ") {
        Some(rest) => (rest.strip_suffix(" is not set")?, "n"),
        None => line.split_once('=')?,
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (name.starts_with("CONFIG_") && name.chars().all(is_plain)).then_some((name, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::Config;

    const COMMON: &str = "# Why.\nCONFIG_NET=y\nCONFIG_BPF=y\n\nCONFIG_NR_CPUS=8\n";

    #[test]
    fn a_later_fragment_takes_away_what_an_earlier_one_asked_for() {
        let bare = "# CONFIG_BPF is not set\n";
        let config = Config::merge([("common", COMMON), ("bare", bare)]).unwrap();
        assert_eq!(
            config.text(),
            "# CONFIG_BPF is not set\nCONFIG_NET=y\nCONFIG_NR_CPUS=8\n"
        );
        assert!(config.has("CONFIG_NET") && !config.has("CONFIG_BPF"));
    }

    #[test]
    fn an_option_that_did_not_come_out_as_asked_is_named_with_who_asked() {
        let config = Config::merge([("common", COMMON)]).unwrap();
        let made = "CONFIG_NET=y\n# CONFIG_BPF is not set\nCONFIG_NR_CPUS=8\nCONFIG_MORE=y\n";
        assert_eq!(
            config.missing(made),
            ["CONFIG_BPF: common asks for y, and it came out as n"]
        );
        let none = Config::merge([("x", "# CONFIG_GONE is not set")]).unwrap();
        assert_eq!(none.missing(made), [""; 0]);
    }

    #[test]
    fn a_line_that_is_no_option_is_refused_and_not_passed_over() {
        let error = Config::merge([("common", "CONFIG_NET=y\nNET=y\n")]).unwrap_err();
        assert_eq!(error.to_string(), "common.config, line 2: \"NET=y\"");
    }
}
