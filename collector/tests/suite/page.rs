//! The web page, as browsers get it, and in a browser.

mod fault;
mod scene;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use collector::server::openapi;
use serde_json::Value;

use crate::enrolment::enrolling;
use crate::openapi::send;
use crate::outputs::skipped;
use crate::support::site::{ADMIN, READER, Site, Who, waybill};

/// Where its sources are.
const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/web");
/// The document that the page was written for.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/web/openapi.json");
/// Where Debian has the browser.
const CHROMIUM: &str = "/usr/bin/chromium";

#[test]
fn the_page_is_given_to_whoever_connects_and_keeps_to_itself() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    let get =
        |path: &str, headers: &[(&str, &str)]| send(&site, at, ("GET", path), Who::Nobody, headers);
    let first = get("/", &[]);
    let policy = first.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(first.header(name), value);
    }
    let refused = send(&site, at, ("POST", "/"), Who::Nobody, &[]);
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, "GET, HEAD")
    );
    if first.status == 404 {
        // Built without it: that is said, and the API answers.
        assert_eq!(first.json()["error"], "page");
        let tables = send(
            &site,
            at,
            ("GET", "/api/v1/tables"),
            Who::Token(READER),
            &[],
        );
        return assert_eq!(tables.status, 200);
    }
    assert_eq!(first.header("cache-control"), "no-cache");
    let known = get("/", &[("If-None-Match", first.header("etag"))]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    // Every view is the same document, and what that names is there and never changes.
    let text = String::from_utf8(first.body).expect("UTF-8");
    let view = get("/ui/edge/0011223344556677", &[]);
    assert_eq!(String::from_utf8(view.body).expect("UTF-8"), text);
    let named: Vec<&str> = text
        .split('"')
        .filter(|part| part.starts_with("/ui/assets/"))
        .collect();
    assert!(named.len() >= 2, "{text}");
    for path in named {
        let asset = get(path, &[]);
        assert_eq!(asset.status, 200, "{path}");
        assert!(asset.header("cache-control").ends_with("immutable"));
        let packed = get(path, &[("Accept-Encoding", "zstd")]);
        assert_eq!(packed.header("content-encoding"), "zstd");
        assert_eq!(packed.header("etag"), asset.header("etag"));
        let plain = unpacked(&packed.body);
        assert!(plain == asset.body, "{path}");
    }
    assert_eq!(get("/ui/assets/of-another-build.js", &[]).status, 404);
}

fn unpacked(zstd: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    let decoder = zstd::Decoder::new(zstd).expect("zstd");
    decoder.take(4 << 20).read_to_end(&mut read).expect("zstd");
    read
}

/// What the page asks and reads is still there: its types are made from this document.
#[test]
fn the_page_was_written_for_this_api() {
    let now = openapi();
    if std::env::var_os("WAYBILL_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&now).expect("JSON") + "\n";
        return std::fs::write(DOCUMENT, text).expect("write");
    }
    let text = std::fs::read_to_string(DOCUMENT).expect("the document of the page");
    let then: Value = serde_json::from_str(&text).expect("JSON");
    let mut gone = Vec::new();
    missing(&then, &now, "", &mut gone);
    assert!(
        gone.is_empty(),
        "the API changed in what the page may rest on; look at collector/web/src, then run this \
         test with WAYBILL_BLESS=1:\n{}",
        gone.join("\n")
    );
}

/// What of one document is not in another, words for people aside.
fn missing(then: &Value, now: &Value, at: &str, gone: &mut Vec<String>) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (name, value) in then {
                let at = format!("{at}/{name}");
                match now.get(name) {
                    _ if ["description", "summary"].contains(&name.as_str()) => {}
                    Some(now) => missing(value, now, &at, gone),
                    None => gone.push(at),
                }
            }
        }
        (Value::Array(then), Value::Array(now)) => {
            let kept = |one: &&Value| {
                now.iter().any(|now| {
                    let mut gone = Vec::new();
                    missing(one, now, "", &mut gone);
                    gone.is_empty()
                })
            };
            let lost = then.iter().filter(|one| !kept(one));
            gone.extend(lost.map(|one| format!("{at}: {one}")));
        }
        _ if then == now => {}
        _ => gone.push(format!("{at}: {then} is {now}")),
    }
}

/// Why pages cannot be tried in a browser here.
fn lacking(site: &Site, at: SocketAddr) -> Option<&'static str> {
    let playwright = Path::new(WEB).join("node_modules/playwright-core");
    if !Path::new(CHROMIUM).exists() {
        return Some("no /usr/bin/chromium");
    }
    if !playwright.exists() {
        return Some("no npm, or cargo xtask web was not run");
    }
    let first = send(site, at, ("GET", "/"), Who::Nobody, &[]);
    (first.status == 404).then_some("this collector was built without the web page")
}

/// Trials of `web/tests/page`: headless Chromium, without any network but this collector.
fn trials(of: &str, at: SocketAddr) -> Command {
    let mut command = Command::new("node");
    command
        .args(["tests/page/run.mjs", of])
        .current_dir(WEB)
        .env("WAYBILL_URL", format!("https://{at}"))
        .env("WAYBILL_TOKEN", ADMIN)
        .env("WAYBILL_READER", READER)
        .env("WAYBILL_CHROMIUM", CHROMIUM)
        .env("WAYBILL_HOSTILE", scene::HOSTILE);
    command
}

#[test]
fn people_find_what_they_look_for_in_a_browser() {
    let (site, running) = enrolling("1h");
    let at = running.address();
    if let Some(what) = lacking(&site, at) {
        return skipped(what);
    }
    let now_ms = u64::try_from(collector::time::now_ms()).expect("after 1970");
    scene::feed(&site, at, now_ms);
    site.write("matrix.csv", &scene::declared());
    let (csv, xlsx) = (site.path("matrix.csv"), site.path("matrix.xlsx"));
    let [from, to] = [&csv, &xlsx].map(|path| path.display().to_string());
    waybill(&["matrix", "export", &from, "--output", &to]);
    let (connections, resets) = scene::STOCK;
    let status = trials("shop", at)
        .env("WAYBILL_MATRIX", &xlsx)
        .env("WAYBILL_STOCK", format!("{connections} {resets}"))
        .status()
        .expect("node");
    assert!(status.success(), "the page failed: see above");
}
