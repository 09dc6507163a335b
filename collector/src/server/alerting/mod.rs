//! Alerts, over the network: what is asked and what operators change.

mod mutes;
mod one;
mod refused;

pub(super) use mutes::{
    add_maintenance, add_silence, change_maintenance, change_silence, end_silence, maintenance,
    remove_maintenance, silences,
};
pub(super) use one::{acknowledge, alert, alerts, rules, unacknowledge};
