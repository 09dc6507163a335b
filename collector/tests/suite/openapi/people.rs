//! Questions about people.

use std::net::SocketAddr;

use crate::support::site::Site;

/// Operation, address and status of each, on a site with a user.
pub(super) fn asked(site: &Site, at: SocketAddr) -> Vec<(&'static str, String, u16)> {
    // A user, so that lists have something in them.
    crate::people::add(site, "ann", "viewer");
    let words = ["token", "add", "ann", "--name", "CI"];
    crate::people::command(site, &words);
    drop(crate::people::Browser::of(site, at, "ann"));
    let get = |id, path: &str, status| (id, String::from(path), status);
    vec![
        get("whoami", "/api/v1/whoami", 200),
        get("whoami", "/api/v1/whoami?x=1", 400),
        get("users", "/api/v1/users", 200),
        get("users", "/api/v1/users?x=1", 400),
        get("enrolments", "/api/v1/enrolments", 200),
        get("enrolments", "/api/v1/enrolments?x=1", 400),
        get("sessions", "/api/v1/sessions?all=true", 200),
        get("sessions", "/api/v1/sessions?all=1", 400),
        get("tokens", "/api/v1/tokens?all=true", 200),
        get("tokens", "/api/v1/tokens", 200),
    ]
}
