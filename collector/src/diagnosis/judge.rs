//! A judgement before it is put into words, and the arithmetic of all.

use super::statement::{Cause, Number, Verdict};

/// What was found of a cause.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) cause: Cause,
    pub(super) verdict: Verdict,
    /// 0 to 1: how much of the edge it concerns.
    pub(super) weight: f64,
    /// Which of the cause's sentences.
    pub(super) form: &'static str,
    /// What its sentence names.
    pub(super) names: Vec<(&'static str, String)>,
    pub(super) numbers: Vec<Number>,
}

impl Found {
    pub(super) const fn new(cause: Cause, verdict: Verdict) -> Self {
        Self {
            cause,
            verdict,
            weight: 0.0,
            form: "",
            names: Vec::new(),
            numbers: Vec::new(),
        }
    }

    pub(super) fn weighs(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    pub(super) fn form(mut self, form: &'static str) -> Self {
        self.form = form;
        self
    }

    pub(super) fn names(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.names.push((name, value.into()));
        self
    }

    pub(super) fn count(mut self, name: &str, value: Option<u64>, usual: Option<u64>) -> Self {
        self.numbers.push(number(name, value, usual, ""));
        self
    }

    pub(super) fn time(mut self, name: &str, us: Option<u64>, usual: Option<u64>) -> Self {
        self.numbers.push(number(name, us, usual, "us"));
        self
    }

    pub(super) fn bytes(mut self, name: &str, value: Option<u64>, usual: Option<u64>) -> Self {
        self.numbers.push(number(name, value, usual, "By"));
        self
    }

    pub(super) fn share(mut self, name: &str, value: Option<f64>, usual: Option<f64>) -> Self {
        let percent = |share: f64| (share * 1e6).round() / 1e4;
        self.numbers.push(Number {
            name: name.to_owned(),
            value: value.map(percent),
            usual: usual.map(percent),
            unit: "%".to_owned(),
        });
        self
    }
}

fn number(name: &str, value: Option<u64>, usual: Option<u64>, unit: &str) -> Number {
    Number {
        name: name.to_owned(),
        value: value.map(real),
        usual: usual.map(real),
        unit: unit.to_owned(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "far below 2^52, and a share is not exact to the last bit"
)]
fn real(n: u64) -> f64 {
    n as f64
}

/// A part of a whole, 0 to 1; `None` of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (real(part) / real(whole)).min(1.0))
}

/// Whether `value` is at least `times` the usual one. Without a usual one, nobody knows.
pub(super) fn is_above(value: u64, usual: u64, times: f64) -> bool {
    real(value) >= real(usual) * times
}
