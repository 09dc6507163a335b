//! The thread that joins takes turns with large questions, so that there is memory for either.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

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
        Box::new(store.path.clone()),
        Meter::new(limits.query_rows, limits.join_memory),
        app.jobs.clone(),
        Arc::clone(&app.metrics),
        // Behind those who wait already, and before all who come later.
        move || turn.wait_on_thread(nobody, 1),
    )
}
