//! The thread that joins takes turns with large questions, so that there is memory for either.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::app::App;
use super::fair::{Party, Shares};
use crate::config::Config;
use crate::joined::{self, Joiner};
use crate::meter::Meter;

/// The thread, and what it may wait for. Dropping it ends both.
pub(super) struct Joining {
    turn: Arc<Shares>,
    joiner: Option<Joiner>,
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.turn.close();
        self.joiner = None;
    }
}

/// Starts it.
pub(super) fn start(app: &App) -> std::io::Result<Joining> {
    let Config { limits, .. } = &app.config;
    let nobody = Party::of(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let turn = Arc::clone(&app.answers.turn);
    let joiner = joined::spawn(
        Arc::clone(&app.source),
        Meter::new(limits.query_rows, limits.join_memory),
        (app.jobs.clone(), Arc::clone(&app.answers.kept)),
        Arc::clone(&app.metrics),
        // Behind those who wait already, and before all who come later.
        move || turn.wait_on_thread(nobody, 1),
    )?;
    Ok(Joining {
        turn: Arc::clone(&app.answers.turn),
        joiner: Some(joiner),
    })
}
