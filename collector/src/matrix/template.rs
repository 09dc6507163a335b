//! A matrix for a team to fill in.

use super::flow::Fields;

/// Examples, one for each way to write an end.
#[must_use]
pub fn template() -> Vec<Fields> {
    let row = |source: &str, destination: &str, port: &str, comment: &str| Fields {
        source: String::from(source),
        destination: String::from(destination),
        port: String::from(port),
        protocol: String::from("tcp"),
        action: String::from("allow"),
        owner: String::from("team"),
        comment: String::from(comment),
        ..Fields::default()
    };
    let mut rows = vec![
        row(
            "service=nginx",
            "service=app",
            "8080",
            "by the names of services",
        ),
        row(
            "host=web-*",
            "db-1/postgres",
            "5432",
            "by hosts; * is any text",
        ),
        row(
            "tag:team=pay",
            "10.20.0.0/16",
            "443, 8000-8999",
            "by tags and networks",
        ),
        row(
            "10.0.0.0/8",
            "192.0.2.10",
            "443",
            "the address of a load balancer",
        ),
        row("any", "service=sshd", "22", "what must not be"),
    ];
    rows[3].valid_until = String::from("2027-12-31");
    rows[4].action = String::from("deny");
    rows
}
