//! What one operation of the API is, as data.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use schemars::{Schema, SchemaGenerator};
use serde::Serialize;

use super::beside::Beside;
use super::failure::Failure;
use super::given::Given;
use super::parameter::{MAX_AGE, Parameter};
use crate::escape;
use crate::join::Picture;
use crate::joined::Kept;
use crate::meter::Meter;
use crate::query;
use crate::store::Source;

/// What can be asked at one address with one method.
#[derive(Debug)]
pub struct Operation {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// With `{name}` for each parameter in it.
    pub path: &'static str,
    /// Its name in the document, unique.
    pub id: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What one line does not say.
    pub help: &'static str,
    /// All parameters, in groups that operations share.
    pub parameters: &'static [&'static [Parameter]],
    /// The JSON that the request has as its body, where it has one of a form.
    pub body: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// What is answered with status 200.
    pub form: Form,
    /// Statuses that not every operation answers, with what they mean.
    pub refusals: &'static [(u16, &'static str)],
    /// Writes the answer, where that is a function of the store, the parameters and the time.
    pub answer: Option<Answers>,
}

/// Writes an answer within what it may take.
pub type Answers = fn(&Asking<'_>, &mut dyn Write) -> Result<(), Failure>;

/// The form of an answer.
#[derive(Debug)]
pub enum Form {
    /// JSON of this schema.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Text of another media type.
    Text(&'static str),
    /// A file, in one of the forms of [`crate::matrix::Form`] with these words; parameter `form`
    /// chooses.
    File(&'static [&'static str]),
    /// JSON of this schema, also of refusals.
    Always(fn(&mut SchemaGenerator) -> Schema),
}

impl Operation {
    /// Every parameter.
    pub fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        self.parameters.iter().copied().flatten()
    }

    /// Media type and name of the file that is answered, where it is one.
    #[must_use]
    pub fn file(&self, given: &Given) -> Option<(&'static str, String)> {
        let Form::File(_) = self.form else {
            return None;
        };
        let word = given.text("form")?;
        let stem = match given.text("of") {
            Some(of) => format!("matrix-{of}"),
            None => String::from("matrix-report"),
        };
        let media = crate::matrix::Form::of_word(word)?.media();
        Some((media, format!("{stem}.{word}")))
    }

    /// The address of a question with these parameters.
    #[must_use]
    pub fn address(&self, values: &[(&str, String)]) -> String {
        let (mut path, mut query) = (String::from(self.path), Vec::new());
        for (name, value) in values {
            let place = format!("{{{name}}}");
            if path.contains(&place) {
                path = path.replace(&place, &encoded(value));
            } else {
                query.push(format!("{name}={}", encoded(value)));
            }
        }
        format!("{path}?{}", query.join("&"))
    }
}

/// A text as a part of an address.
pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Who asks what, where and when.
#[derive(Debug)]
pub struct Asking<'a> {
    /// The store.
    pub store: &'a dyn Source,
    /// The parameters.
    pub given: &'a Given,
    /// Unix milliseconds.
    pub now_ms: i64,
    /// What each reading of the store may take.
    pub meter: Meter,
    /// Topologies that were made for others, where there are any.
    pub kept: Option<&'a Kept>,
    /// What is known beside the store, where that is at hand.
    pub beside: Option<&'a Beside>,
}

impl Asking<'_> {
    /// The topology of the window that is asked for; one that was made for somebody else, where the
    /// question takes one that is older.
    ///
    /// # Errors
    /// A window that ends before it begins, and those of the store.
    pub(super) fn picture(&self) -> Result<Arc<Picture>, Failure> {
        let asked = self.given.asked(self.now_ms)?;
        let max_age = self.given.duration_ms(MAX_AGE[0].name).unwrap_or(0);
        let max_age = Duration::from_millis(max_age.unsigned_abs());
        let Some(kept) = self.kept.filter(|_| !max_age.is_zero()) else {
            let made = query::topology(self.store, asked, self.now_ms, self.meter)?;
            return Ok(Arc::new(made));
        };
        let wanted = (asked, kept, max_age);
        Ok(query::topology_of(
            self.store,
            wanted,
            self.now_ms,
            self.meter,
        )?)
    }
}

/// Writes an answer.
///
/// # Errors
/// Those of the writer, which has a bound.
pub(super) fn write<T: Serialize>(out: &mut dyn Write, answer: &T) -> Result<(), Failure> {
    escape::json(out, answer).map_err(Failure::Unwritten)
}

/// Makes a schema known, and gives a reference to it.
pub(super) fn form<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Unwritten(error)
    }
}
