//! What makes an edge: its two sides and the endpoint between them.

use std::net::IpAddr;

use wire::Endpoint;

use super::rows::NodeId;

/// One side of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Process(NodeId),
    Address(IpAddr),
    /// Several addresses, by what they have in common.
    Network(IpAddr, u8),
}

/// What makes an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EdgeKey {
    pub(super) client: Side,
    pub(super) server: Side,
    pub(super) endpoint: Endpoint,
}

impl EdgeKey {
    /// Whether both ends are known.
    pub(super) fn is_joined(&self) -> bool {
        matches!(
            (&self.client, &self.server),
            (Side::Process(_), Side::Process(_))
        )
    }
}
