//! A fault, from the first reset to the alert that is over, as people see it in a browser.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::outputs::skipped;
use crate::support::site::{ADMIN, Site, Who};

use super::scene::{INTERVAL_MS, Scene, Wrong};
use super::{lacking, trials};

/// The rules that ship, but what is mended is over sooner.
const RULES: &str = "[change.edge-reset-by-peer]\nkeep_for = \"1m\"\n";
/// Intervals before the page is opened, and how many of them are broken.
const INTERVALS: (u64, u64) = (30, 6);
/// Connections that are reset in an interval: twelve in five that follow one another, where the rule
/// wants ten.
const RESETS: [u64; 5] = [2, 2, 3, 2, 3];

fn now_ms() -> u64 {
    u64::try_from(collector::time::now_ms()).expect("after 1970")
}

/// Whether somebody knows of the alert.
fn is_known(site: &Site, at: std::net::SocketAddr) -> bool {
    let path = "/api/v1/alerts?rule=edge-reset-by-peer";
    let answer = site.get(at, path, Who::Token(ADMIN)).json;
    let alerts = answer["alerts"].as_array().expect("alerts");
    alerts.iter().any(|one| !one["acknowledged"].is_null())
}

#[test]
fn a_fault_is_told_acknowledged_in_a_browser_and_over_after_the_mend() {
    let site = Site::new();
    std::fs::create_dir(site.path("rules")).expect("a folder");
    site.write("rules/changed.toml", RULES);
    let rules = site.path("rules");
    let running = site.start(&format!("\n[alerts]\nrules = \"{}\"", rules.display()));
    let at = running.address();
    if let Some(what) = lacking(&site, at) {
        return skipped(what);
    }
    let begin_ms = now_ms();
    let mut scene = Scene::new(&site, at, begin_ms - INTERVALS.0 * INTERVAL_MS);
    let wrong = |interval: u64| Wrong {
        resets: RESETS[usize::try_from(interval).expect("few") % RESETS.len()],
        is_slow: true,
    };
    for interval in 0..INTERVALS.0 {
        let is_broken = interval >= INTERVALS.0 - INTERVALS.1;
        scene.pass(if is_broken {
            wrong(interval)
        } else {
            Wrong::default()
        });
    }
    let mut browser = trials("fault", at).spawn().expect("node");
    let (tell, told) = channel();
    let waiting = std::thread::Builder::new().name(String::from("browser"));
    let waiting = waiting.spawn(move || tell.send(browser.wait()));
    let waiting = waiting.expect("a thread");
    let (mut interval, mut is_mended) = (INTERVALS.0, false);
    let ended = loop {
        let next_ms = begin_ms + (interval + 1 - INTERVALS.0) * INTERVAL_MS;
        let rest = Duration::from_millis(next_ms.saturating_sub(now_ms()));
        match told.recv_timeout(rest) {
            Ok(ended) => break ended.expect("its end"),
            Err(RecvTimeoutError::Disconnected) => panic!("nobody waits for the trials"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        is_mended = is_mended || is_known(&site, at);
        scene.pass(if is_mended {
            Wrong::default()
        } else {
            wrong(interval)
        });
        interval += 1;
    };
    waiting.join().expect("a thread").expect("was heard");
    assert!(ended.success(), "the page failed: see above");
    assert!(is_mended, "nobody knew of it");
}
