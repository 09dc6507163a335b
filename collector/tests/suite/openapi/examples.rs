//! The examples of `docs/API.md` are run as they stand there.

use std::process::Command;

use crate::support::site::{READER, Site};

const PAGE: &str = include_str!("../../../../docs/API.md");

#[test]
fn every_example_of_the_page_is_answered() {
    let site = Site::new();
    let running = site.start("");
    super::scene::fleet(&site, running.address());
    let examples: Vec<&str> = PAGE
        .lines()
        .filter(|line| line.contains("curl ") && !line.contains('`'))
        .collect();
    assert!(examples.len() >= 9, "{examples:?}");
    for example in examples {
        let output = Command::new("sh")
            .args(["-c", example])
            .env("COLLECTOR", format!("https://{}", running.address()))
            .env("CA", site.path("ca.crt"))
            .env("TOKEN", READER)
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{example}: {output:?}");
        let answer: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("the answer is JSON");
        assert!(answer.is_object(), "{example}");
    }
}
