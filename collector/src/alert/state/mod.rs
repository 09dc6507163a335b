//! The life of alerts: pending, firing, resolved, as values.
//!
//! Pure. An alert is one rule and one subject. What could not be judged changes neither way: an
//! absent answer does not resolve, and does not make anything fire.

mod alert;
mod step;
#[cfg(test)]
mod tests;

pub use alert::{Alert, Ended, Phase, State, Transition, What, alert_id};
pub use step::{Bounds, Changes, step};
