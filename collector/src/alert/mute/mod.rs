//! What is not to be told: silences and maintenance windows. Pure.

mod matcher;
mod silence;
#[cfg(test)]
mod tests;

pub use matcher::Matcher;
pub use silence::{Day, Maintenance, Muted, Mutes, NewMaintenance, NewSilence, Silence};
