//! Lists that are answered a page after the other.
//!
//! A cursor holds where the next page begins, and for which question. It says nothing that the
//! answer does not say, and is checked like everything that comes from outside.

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::Problem;
use super::parameter::{Kind, Parameter};

/// The parameter with a cursor.
pub(super) const CURSOR: Parameter = Parameter::new(
    "cursor",
    Kind::Text(2048),
    "Where the page begins: `next` of the answer before, to the same question.",
);

/// A place in a list, and what the list is of.
#[derive(Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor<T> {
    of: String,
    at: T,
}

/// The cursor of a place in the list of `of`.
pub(super) fn cursor<T: Serialize>(of: &str, at: T) -> String {
    let cursor = Cursor {
        of: String::from(of),
        at,
    };
    let text = serde_json::to_vec(&cursor).expect("a place without foreign types is JSON");
    BASE64URL_NOPAD.encode(&text)
}

/// The place of a cursor.
///
/// # Errors
/// One that this program did not make for this list.
pub(super) fn place<T: DeserializeOwned>(of: &str, cursor: &str) -> Result<T, Problem> {
    let text = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok();
    let read = text.and_then(|text| serde_json::from_slice::<Cursor<T>>(&text).ok());
    match read {
        Some(cursor) if cursor.of == of => Ok(cursor.at),
        _ => Err(foreign()),
    }
}

/// A cursor that this program did not make for this list.
pub(super) fn foreign() -> Problem {
    Problem::query(
        "cursor: not one of this question; take `next` of its answer, or begin without one",
    )
}
