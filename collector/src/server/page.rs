//! The web page: files that were embedded when the collector was built.
//!
//! They say nothing about the fleet and are given to whoever can connect; what the page shows it
//! asks of the API, with the credential of the person who opened it.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::app::{App, Shared};
use super::body::{Held, SENT};
use super::packed::Encoding;
use super::questions::known;
use super::refusal::error;
use crate::digest::hex;

/// Names and bytes, sorted by name.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The document of every view.
const INDEX: &str = "index.html";

/// Where files are whose names change with what is in them.
const HASHED: &str = "assets/";

/// How hard files are packed: once in a run, so that it may take some milliseconds.
const ZSTD_LEVEL: i32 = 12;

/// Scripts, styles and data of this server alone, nothing inline, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// What every answer says to browsers.
const GUARDS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
];

/// A file as it is sent.
struct Packed {
    name: &'static str,
    plain: &'static [u8],
    zstd: Bytes,
    gzip: Bytes,
    tag: String,
}

/// The addresses of the page; its views have theirs below `/ui/`.
pub(super) fn router(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/", methods(get(start)))
        .route("/ui", methods(get(start)))
        .route("/ui/", methods(get(start)))
        .route("/ui/{*path}", methods(get(file)));
    router.with_state(app)
}

fn methods(handler: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    handler.fallback(async || {
        let why = "this address takes GET, HEAD";
        let mut refused = error(StatusCode::METHOD_NOT_ALLOWED, "method", why);
        let allow = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, allow);
        refused
    })
}

/// `GET /`
async fn start(State(app): Shared, headers: HeaderMap) -> Response {
    send(&app, INDEX, &headers)
}

/// `GET /ui/{*path}`: a file, or for the address of a view its document.
async fn file(State(app): Shared, Path(path): Path<String>, headers: HeaderMap) -> Response {
    let missing = path.starts_with(HASHED) && find(&path).is_none();
    if missing {
        let why = "no file of this name; the collector has another page now: open it anew";
        return guarded(error(StatusCode::NOT_FOUND, "unknown", why));
    }
    let name = find(&path).map_or(INDEX, |file| file.name);
    send(&app, name, &headers)
}

fn send(app: &App, name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = find(name) else {
        let why = "this collector was built without the web page (cargo xtask web builds it); the \
                   API answers: /api/v1/openapi.json";
        return guarded(error(StatusCode::NOT_FOUND, "page", why));
    };
    let encoding = Encoding::of(headers);
    let cached = match file.name.starts_with(HASHED) {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let mut response = if known(headers).contains(&file.tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = Body::from(match encoding {
            Encoding::Zstd => file.zstd.clone(),
            Encoding::Gzip => file.gzip.clone(),
            Encoding::Plain => Bytes::from_static(file.plain),
        });
        let body = Held::new(body, SENT, &app.metrics, ());
        let mut response = Response::new(Body::new(body));
        let head = response.headers_mut();
        head.insert(CONTENT_TYPE, HeaderValue::from_static(media(file.name)));
        if let Some(name) = encoding.name() {
            head.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        response
    };
    let head = response.headers_mut();
    head.insert(CACHE_CONTROL, HeaderValue::from_static(cached));
    head.insert(VARY, HeaderValue::from_static("accept-encoding"));
    let tag = HeaderValue::from_str(&file.tag).expect("digits");
    head.insert(ETAG, tag);
    guarded(response)
}

fn guarded(mut response: Response) -> Response {
    for (name, value) in GUARDS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// The file of this name, packed when the first one is asked for.
fn find(name: &str) -> Option<&'static Packed> {
    static ALL: OnceLock<Vec<Packed>> = OnceLock::new();
    let all = ALL.get_or_init(|| FILES.iter().map(|file| Packed::of(*file)).collect());
    let at = all.binary_search_by(|file| file.name.cmp(name)).ok()?;
    all.get(at)
}

impl Packed {
    fn of((name, plain): (&'static str, &'static [u8])) -> Self {
        let zstd = zstd::bulk::compress(plain, ZSTD_LEVEL).expect("memory can be written");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(plain).expect("memory can be written");
        let digest = ring::digest::digest(&ring::digest::SHA256, plain);
        Self {
            name,
            plain,
            zstd: zstd.into(),
            gzip: gzip.finish().expect("memory can be written").into(),
            tag: format!("W/\"{}\"", hex(&digest.as_ref()[..16])),
        }
    }
}

/// The media type of a file, by the end of its name.
fn media(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "md" | "txt" => "text/plain; charset=utf-8",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::{FILES, HASHED, INDEX, POLICY, media};

    #[test]
    fn nothing_inline_and_nothing_of_others_is_let_in() {
        for word in ["unsafe", "http", "*", "data:", "blob:"] {
            assert!(!POLICY.contains(word), "{word}");
        }
    }

    /// What is embedded keeps to the policy; there is nothing to look at without a built page.
    #[test]
    fn the_built_page_has_nothing_inline_and_names_nobody_else() {
        let texts = FILES
            .iter()
            .map(|(name, bytes)| (*name, String::from_utf8_lossy(bytes)));
        for (name, text) in texts {
            assert_ne!(media(name), "application/octet-stream", "{name}");
            if name.ends_with(".html") {
                assert!(
                    !text.contains("<style") && !text.contains(" style="),
                    "{name}"
                );
                assert!(
                    !text.contains("<script>") && !text.contains("javascript:"),
                    "{name}"
                );
                assert!(!text.contains("//"), "{name} names another place");
            }
            if name.starts_with(HASHED) && name.ends_with(".css") {
                assert!(!text.contains("url("), "{name}");
            }
        }
        let built = FILES.is_empty() || FILES.iter().any(|(name, _)| *name == INDEX);
        assert!(built, "a page without its document");
    }
}
