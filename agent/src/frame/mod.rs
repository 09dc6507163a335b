//! TCP segments of packets that a packet socket sees, and the filter in front of it. Pure.

mod filter;
mod segment;

pub(crate) use filter::filter;
pub(crate) use segment::{
    ACK, FIN, OPTION_BYTES, OptionPrefix, RST, SNAP_BYTES, SYN, Segment, parse,
};
