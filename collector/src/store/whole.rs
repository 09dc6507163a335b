//! From when an answer is whole, where something of its window was deleted.

use super::error::{Error, failed};
use super::gone::{Gone, gone};
use super::reader::View;
use super::slices::Piece;
use super::window::Window;

impl Gone {
    /// From when an answer that is made of these pieces of a window is whole; `None` where all of it
    /// is.
    #[must_use]
    pub fn whole_from(self, window: Window, pieces: &[Piece]) -> Option<i64> {
        let rows = pieces.iter().filter_map(|piece| match piece {
            Piece::Rows(rows) => self
                .rows_ms
                .filter(|gone| rows.from_ms < *gone)
                .map(|gone| gone.min(rows.to_ms)),
            Piece::Joined(_) => None,
        });
        let slices = self
            .slices_ms
            .filter(|gone| window.from_ms < *gone)
            .map(|gone| gone.min(window.to_ms));
        rows.chain(slices).max()
    }
}

impl View<'_> {
    /// From when an answer that is made of these pieces of a window is whole, Unix milliseconds;
    /// `None` where nothing of the window was deleted.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn whole_from(&self, window: Window, pieces: &[Piece]) -> Result<Option<i64>, Error> {
        let gone = gone(&self.snapshot).map_err(failed)?;
        Ok(gone.whole_from(window, pieces))
    }
}
