//! What a program is made of, as a CycloneDX document (ECMA-424, version 1.5, JSON).
//!
//! Nothing in it depends on the machine or the time beyond what was built from, so the same source
//! gives the same document.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::component::Component;
use super::release::Release;

/// The document of one program.
///
/// # Errors
/// When it cannot be written as JSON.
pub(super) fn document(
    release: &Release,
    program: &str,
    components: &[Component],
) -> Result<String> {
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": program,
                "version": release.full_version(),
                "licenses": [{ "expression": "Apache-2.0" }],
            }
        },
        "components": components.iter().map(shown).collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&document).context("write the list of components")?;
    Ok(text + "\n")
}

fn shown(component: &Component) -> Value {
    let mut shown = json!({
        "type": "library",
        "name": component.name,
        "version": component.version,
        "licenses": [{ "expression": component.licence }],
    });
    if let Some(purl) = &component.purl {
        shown["purl"] = json!(purl);
    }
    shown
}
