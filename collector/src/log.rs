//! The collector's log goes to standard error; see [`program::log`].

use log::LevelFilter;

use crate::time;

pub use program::log::Limiter;

/// Starts logging at `level`; a second call only changes the level.
pub fn init(level: LevelFilter) {
    let out = Box::new(std::io::stderr());
    // It fails when a logger is set already, and then that one stays.
    if program::log::init(level, env!("CARGO_CRATE_NAME"), time::now_ms, out).is_err() {
        log::debug!("logger already set");
    }
    log::set_max_level(level);
}
