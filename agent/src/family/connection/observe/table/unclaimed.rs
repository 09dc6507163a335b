//! Connections that packets show and no socket claims.

use std::collections::HashMap;

use wire::{Endpoint, Role};

use crate::family::connection::observe::entry::Key;

/// Who called, as this side of it sees him: network namespace, side, the caller's end.
pub(super) type Caller = (u16, Role, Endpoint);

/// What packets showed and no socket was seen of.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    /// `None` where a caller has several.
    pub(super) by_caller: HashMap<Caller, Option<Key>>,
    /// Ends as packets name them, of connections whose sockets name others.
    pub(super) names: HashMap<Key, Key>,
}
