//! The thread that joins takes turns with large questions, so that there is memory for either.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::answers;
use super::app::App;
use super::fair::Party;
use crate::config::Config;
use crate::joined::{self, Joiner};
use crate::meter::Meter;

/// Starts it.
pub(super) fn start(app: &App) -> std::io::Result<Joiner> {
    let Config { store, limits, .. } = &app.config;
    let nobody = Party::of(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let turn = Arc::clone(&app.answers.turn);
    joined::spawn(
        store.path.clone(),
        Meter::new(limits.query_rows, answers::without_place(limits)),
        app.jobs.clone(),
        Arc::clone(&app.metrics),
        move || turn.take(nobody, 1).ok(),
    )
}
