//! `[families]`: what the operator wants of each, by its name.

use std::collections::BTreeMap;

use super::FamilySetting;
use super::check::value;
use super::section::{At, Problems};
use super::value::Expected;

/// Read for as long as packages had it in their example.
pub(super) const RENAMED: &str = "nat.conntrack is families.nat now; the old key is still read";

/// Each family by its name, one of those that orders know as well.
pub(super) fn validate(
    raw: Vec<(String, At<String>)>,
    nat: Option<At<String>>,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, FamilySetting> {
    let known = wire::orders::families().into_iter();
    let known = known.map(|name| (name.to_owned(), FamilySetting::Auto));
    let mut families: BTreeMap<String, FamilySetting> = known.collect();
    let old = nat.map(|field| ("nat".to_owned(), field));
    if let Some((_, field)) = raw.iter().find(|(name, _)| old.is_some() && name == "nat") {
        problems.unusable(&field.place, "nat.conntrack says the same: leave that out");
    }
    for (name, field) in raw.into_iter().chain(old) {
        let Some(setting) = families.get_mut(&name) else {
            let known: Vec<_> = families.keys().map(String::as_str).collect();
            let known = known.join(", ");
            problems.unusable(
                &field.place,
                &format!("no such family, expected one of: {known}"),
            );
            continue;
        };
        *setting = value(Some(field), *setting, problems, family);
    }
    families
}

fn family(text: String) -> Result<FamilySetting, Expected> {
    match text.as_str() {
        "auto" => Ok(FamilySetting::Auto),
        "off" => Ok(FamilySetting::Off),
        "on" => Ok(FamilySetting::On),
        _ => Err(Expected("\"auto\", \"off\" or \"on\"".into())),
    }
}
