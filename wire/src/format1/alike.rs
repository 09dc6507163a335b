//! Which columns look alike to a compressor.
//!
//! Tokens of similar distribution share one block and so one Huffman table; columns that differ get
//! blocks of their own. Found by measurement; readers do not depend on it.

use crate::compress::Kind;
use crate::stream::ArrowColumn;

/// Each line is one block; columns that are not named follow in a block of their own.
const BLOCKS: [&[&str]; 9] = [
    &["subject_network"],
    &["host"],
    &["since_ms"],
    &["opened"],
    &[
        "reset_local_remote",
        "failed_refused",
        "retransmits_out_of_order",
        "bytes_sent_received",
    ],
    &["rtt_below_above", "connect_latency_below_above"],
    &["segments_sent", "segments_received"],
    &["connect_latency_sum_us", "rtt_sum_us"],
    &[
        "connect_latency_peak",
        "other_port",
        "rtt_extra",
        "rtt_peak",
        "connect_latency_extra",
        "zero_windows",
        "live",
    ],
];

fn place(column: &ArrowColumn) -> (usize, usize) {
    let find = |(block, names): (usize, &&[&str])| {
        names
            .iter()
            .position(|name| *name == column.name)
            .map(|place| (block, place))
    };
    BLOCKS
        .iter()
        .enumerate()
        .find_map(find)
        .unwrap_or((BLOCKS.len(), 0))
}

/// Puts columns that look alike side by side, and marks where another kind begins.
pub(crate) fn arrange(columns: &mut [ArrowColumn]) {
    columns.sort_by_key(place);
    let mut last = None;
    for column in columns {
        let block = place(column).0;
        if last.replace(block) != Some(block) && column.turns.first().is_none_or(|turn| turn.0 > 0)
        {
            column.turns.insert(0, (0, Kind::Tokens));
        }
    }
}
