//! Questions about alerts.

use crate::alerting::fires;
use crate::support::site::Site;

/// Operation, address and status of each, on a site with an alert.
pub(super) fn asked(site: &Site) -> Vec<(&'static str, String, u16)> {
    let id = fires(&site.path("alerts.db"));
    let get = |id, path: &str, status| (id, String::from(path), status);
    vec![
        get(
            "alerts",
            "/api/v1/alerts?phase=firing,resolved&severity=warning&rule=edge-failing&host=web\
             &service=api&group=g-0&limit=2&language=zh",
            200,
        ),
        get("alerts", "/api/v1/alerts", 200),
        get("alerts", "/api/v1/alerts?phase=burning", 400),
        get("alerts", "/api/v1/alerts?cursor=bad", 400),
        ("alert", format!("/api/v1/alerts/{id}?language=en"), 200),
        get("alert", "/api/v1/alerts/a-0000000000000000", 404),
        get("rules", "/api/v1/rules?language=zh", 200),
        get("rules", "/api/v1/rules?language=fr", 400),
        get("silences", "/api/v1/silences", 200),
        get("silences", "/api/v1/silences?x=1", 400),
        get("maintenance", "/api/v1/maintenance", 200),
    ]
}
