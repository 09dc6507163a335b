//! What both directions know of a stream.

/// Metadata key of the table's name in the schema and of the note in a field.
pub(super) const KEY: &str = "waybill";
/// What every message begins with.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];
/// A message of no size ends the stream.
pub(super) const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
