//! Silences, which end, and maintenance windows, which come again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::matcher::Matcher;
use crate::alert::labels::Labels;

/// Longest silence, milliseconds: what is silent for ever is forgotten.
const SILENCE_MS: i64 = 90 * 86_400_000;
/// Longest maintenance window, minutes.
const WINDOW_MINUTES: u32 = 7 * 1440;
/// Most bytes of a reason or a name.
const TEXT_BYTES: usize = 1024;
const DAY_MINUTES: i64 = 1440;

/// Alerts that are not told until a time.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// All of them must be met.
    pub matchers: Vec<Matcher>,
    /// Since when, Unix milliseconds.
    pub from_ms: i64,
    /// Until when, Unix milliseconds.
    pub until_ms: i64,
    /// Why.
    pub why: String,
    /// Who made or last changed it.
    pub who: String,
    /// When it was made, Unix milliseconds.
    pub made_ms: i64,
}

/// A silence to make, or what one is to be.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSilence {
    /// All of them must be met; one at least, and one at least that is not negated.
    pub matchers: Vec<Matcher>,
    /// Since when, Unix milliseconds; by default now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
    /// Until when, Unix milliseconds; at most 90 days ahead.
    pub until_ms: i64,
    /// Why: what others who wonder are to read.
    pub why: String,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    const ALL: [Self; 7] = [
        Self::Mon,
        Self::Tue,
        Self::Wed,
        Self::Thu,
        Self::Fri,
        Self::Sat,
        Self::Sun,
    ];
}

/// A time that comes again every week, in which alerts are not told.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Maintenance {
    /// Its number.
    pub id: i64,
    /// What is to be.
    pub window: NewMaintenance,
    /// Who made or last changed it.
    pub who: String,
    /// When it was made, Unix milliseconds.
    pub made_ms: i64,
}

/// A maintenance window to make, or what one is to be.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMaintenance {
    /// What is done then.
    pub name: String,
    /// All of them must be met; one at least, and one at least that is not negated.
    pub matchers: Vec<Matcher>,
    /// On which days it begins.
    pub days: Vec<Day>,
    /// When it begins, minutes after midnight there.
    pub at_minute: u32,
    /// How long it lasts, minutes; at most a week.
    pub minutes: u32,
    /// How far the clock there is ahead of UTC, minutes; it knows no summer time.
    #[serde(default)]
    pub utc_offset_minutes: i32,
}

/// By what an alert is not told.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Muted {
    /// `silence` or `maintenance`.
    pub by: String,
    /// Its number.
    pub id: i64,
    /// Why.
    pub why: String,
    /// Until when, Unix milliseconds.
    pub until_ms: i64,
}

/// All of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mutes {
    /// Silences.
    pub silences: Vec<Silence>,
    /// Maintenance windows.
    pub windows: Vec<Maintenance>,
}

impl Mutes {
    /// What keeps an alert with these labels from being told now; what lasts longest, where several
    /// do.
    #[must_use]
    pub fn of(&self, labels: &Labels, now_ms: i64) -> Option<Muted> {
        let meets = |all: &[Matcher]| all.iter().all(|one| one.meets(labels));
        let silences = self
            .silences
            .iter()
            .filter(|one| (one.from_ms..one.until_ms).contains(&now_ms) && meets(&one.matchers));
        let silences = silences.map(|one| Muted {
            by: String::from("silence"),
            id: one.id,
            why: one.why.clone(),
            until_ms: one.until_ms,
        });
        let windows = self.windows.iter().filter_map(|one| {
            let until_ms = one.window.until(now_ms)?;
            meets(&one.window.matchers).then(|| Muted {
                by: String::from("maintenance"),
                id: one.id,
                why: one.window.name.clone(),
                until_ms,
            })
        });
        silences.chain(windows).max_by_key(|muted| muted.until_ms)
    }
}

fn text(name: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() || text.len() > TEXT_BYTES {
        return Err(format!(
            "{name}: expected a text of 1 to {TEXT_BYTES} bytes"
        ));
    }
    Ok(())
}

impl NewSilence {
    /// Since when; checked.
    ///
    /// # Errors
    /// A sentence with what is wrong.
    pub fn check(&self, now_ms: i64) -> Result<i64, String> {
        Matcher::check(&self.matchers)?;
        text("why", &self.why)?;
        let from_ms = self.from_ms.unwrap_or(now_ms);
        if self.until_ms <= from_ms.max(now_ms) {
            return Err(String::from(
                "until_ms: expected a time to come, after from_ms",
            ));
        }
        if self.until_ms.saturating_sub(now_ms) > SILENCE_MS || from_ms < 0 {
            return Err(String::from("until_ms: expected at most 90 days from now"));
        }
        Ok(from_ms)
    }
}

impl NewMaintenance {
    /// Checks what somebody gave.
    ///
    /// # Errors
    /// A sentence with what is wrong.
    pub fn check(&self) -> Result<(), String> {
        Matcher::check(&self.matchers)?;
        text("name", &self.name)?;
        let wrong = if self.days.is_empty() || self.days.len() > Day::ALL.len() {
            "days: expected one at least"
        } else if i64::from(self.at_minute) >= DAY_MINUTES {
            "at_minute: expected minutes after midnight, 0 to 1439"
        } else if !(1..=WINDOW_MINUTES).contains(&self.minutes) {
            "minutes: expected 1 to 10080"
        } else if self.utc_offset_minutes.abs() > 18 * 60 {
            "utc_offset_minutes: expected -1080 to 1080"
        } else {
            return Ok(());
        };
        Err(String::from(wrong))
    }

    /// Until when it lasts, where it goes on now; Unix milliseconds.
    #[must_use]
    pub fn until(&self, now_ms: i64) -> Option<i64> {
        let offset = i64::from(self.utc_offset_minutes);
        let now = now_ms.div_euclid(60_000) + offset;
        let today = now.div_euclid(DAY_MINUTES);
        let ends = (today - 7..=today).filter_map(|day| {
            // Day 0 was a Thursday.
            let of_week = usize::try_from((day + 3).rem_euclid(7)).ok()?;
            if !self.days.contains(&Day::ALL[of_week]) {
                return None;
            }
            let begin = day * DAY_MINUTES + i64::from(self.at_minute);
            let end = begin + i64::from(self.minutes);
            (begin..end).contains(&now).then(|| (end - offset) * 60_000)
        });
        ends.max()
    }
}
