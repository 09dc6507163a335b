//! What the web page in the collector is made of: the npm packages that are bundled.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::component::{Component, collect};
use crate::workspace;

/// Where the page's sources are.
const WEB: &str = "collector/web";

/// Every package that is in the page; none where the collector has no page.
///
/// # Errors
/// When the lock file cannot be read, or a package is not installed.
pub(super) fn bundled() -> Result<Vec<Component>> {
    let web = workspace::root().join(WEB);
    if !web.join("dist/page/index.html").exists() {
        return Ok(Vec::new());
    }
    let path = web.join("package-lock.json");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let lock: Value = serde_json::from_str(&text).context("read package-lock.json")?;
    let mut found = Vec::new();
    for (place, name, one) in shipped(&lock) {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let version = text("version");
        let mut notices = Vec::new();
        collect(&web.join(place), 0, &mut notices)?;
        found.push(Component {
            purl: Some(format!("pkg:npm/{}@{version}", name.replace('@', "%40"))),
            name: name.to_owned(),
            licence: text("license"),
            version,
            notices,
        });
    }
    Ok(found)
}

/// The packages of a lock file that are not for developers alone: place, name and entry.
fn shipped(lock: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let packages = lock["packages"].as_object().into_iter().flatten();
    packages.filter_map(|(place, one)| {
        let (_, name) = place.rsplit_once("node_modules/")?;
        let for_developers = ["dev", "optional", "devOptional"];
        let left_out = for_developers.iter().any(|key| one[key] == true);
        (!left_out).then_some((place.as_str(), name, one))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::shipped;

    #[test]
    fn what_is_for_developers_is_not_in_the_page() {
        let lock = json!({"packages": {
            "": {"name": "page"},
            "node_modules/preact": {"version": "1.0.0"},
            "node_modules/@a/b/node_modules/c": {"version": "2.0.0"},
            "node_modules/vite": {"version": "8.0.0", "dev": true},
            "node_modules/fsevents": {"version": "2.0.0", "optional": true},
        }});
        let mut names: Vec<_> = shipped(&lock).map(|(_, name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["c", "preact"]);
    }
}
