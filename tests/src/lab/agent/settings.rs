//! What a configuration says beyond a lab's defaults.

use anyhow::{Context, Result};
use toml::{Table, Value};

/// What a configuration says beyond a lab's defaults.
#[derive(Clone, Debug, Default)]
pub struct Settings(pub Vec<(String, Option<Value>)>);

impl Settings {
    /// Sets `key` (`section.name`) to a value in TOML syntax, or adds an element to `[[section]]`.
    ///
    /// # Errors
    /// When `value` is not TOML.
    pub fn with(mut self, key: &str, value: &str) -> Result<Self> {
        let mut parsed: Table = toml::from_str(&format!("value = {value}"))
            .with_context(|| format!("setting {key} = {value}"))?;
        let value = parsed.remove("value").context("the key just written")?;
        self.0.push((key.to_owned(), Some(value)));
        Ok(self)
    }

    /// Removes `key` (`section.name`) from a lab's defaults.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.0.push((key.to_owned(), None));
        self
    }

    pub(super) fn apply(&self, config: &mut Table) -> Result<()> {
        for (key, value) in &self.0 {
            let Some((section, name)) = key.split_once('.') else {
                let entry = config
                    .entry(key)
                    .or_insert_with(|| Value::Array(Vec::new()));
                entry
                    .as_array_mut()
                    .context("not a list")?
                    .extend(value.clone());
                continue;
            };
            let entry = config
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            let entry = entry.as_table_mut().context("not a section")?;
            match value {
                Some(value) => entry.insert(name.into(), value.clone()),
                None => entry.remove(name),
            };
        }
        Ok(())
    }
}
