//! The facts of a diagnosis.

use crate::topology::{Edge, EdgeCounters};

/// What is known of an edge and around it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The edge in the window.
    pub edge: Edge,
    /// The same edge in a window of the same length before; `None` where it was not seen then.
    pub usual: Option<Edge>,
    /// Its client and its server.
    pub ends: [Place; 2],
    /// What the other edges of the window carried, each direction by itself.
    pub flows: Vec<Flow>,
    /// Servers that do the same for the client, the edge's own among them; empty where there is no
    /// other.
    pub siblings: Vec<Sibling>,
    /// What is known of the listener at the server's endpoint.
    pub listening: Option<Listening>,
    /// Addresses in whose place it reaches its ends, and names of gateways.
    pub middles: Vec<String>,
    /// Hosts that say that they translate it.
    pub gateways: Vec<Gateway>,
    /// Whether something changes its addresses and reports nothing.
    pub unseen_hop: bool,
}

/// An end of the edge.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Node id, for people.
    pub name: String,
    /// What stands for its host in [`Flow`]: the host id, or the address.
    pub host: String,
    /// Why nobody reports from there; `None` where somebody does.
    pub unseen: Option<String>,
    /// Its agent, where it has one.
    pub agent: Option<Agent>,
}

/// The agent of a host.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    /// Milliseconds from its last batch to the end of the window; 0 where it came later.
    pub silent_ms: i64,
    /// What it counts as lost.
    pub lost: u64,
}

/// What a host sent to another.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Who sent, as in [`Place::host`].
    pub from: String,
    /// To whom.
    pub to: String,
    /// What it passes, as in [`Scene::middles`].
    pub middles: Vec<String>,
    /// Segments sent.
    pub sent: u64,
    /// Segments among them that were sent again.
    pub again: u64,
}

/// A server of the client that does the same as the edge's.
#[derive(Clone, Debug, Default)]
pub struct Sibling {
    /// Key of the client's edge to it.
    pub edge: String,
    /// Its node id.
    pub server: String,
    /// Its address and port.
    pub endpoint: String,
    /// Connections opened to it.
    pub opened: u64,
    /// The same in the window before; `None` where the edge was not seen then.
    pub before: Option<u64>,
    /// Connections that it ended with a reset; `None` where nobody counts them.
    pub resets: Option<u64>,
}

/// The listener at an endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listening {
    /// Sockets at the end of the window.
    pub sockets: u64,
    /// The least backlog of them.
    pub backlog: u64,
    /// Most connections that waited at once, where a program watches.
    pub queue_most: Option<u64>,
    /// Packets turned away, where the kernel tells them.
    pub drops: Option<u64>,
}

/// A host that translates the edge.
#[derive(Clone, Debug, Default)]
pub struct Gateway {
    /// Its name.
    pub name: String,
    /// Its agent.
    pub agent: Agent,
}

impl Scene {
    pub(super) const fn client(&self) -> Option<&EdgeCounters> {
        self.edge.client_counters.as_ref()
    }

    pub(super) const fn server(&self) -> Option<&EdgeCounters> {
        self.edge.server_counters.as_ref()
    }

    /// A number of each side before.
    pub(super) fn usual<T>(
        &self,
        at: usize,
        read: impl FnOnce(&EdgeCounters) -> Option<T>,
    ) -> Option<T> {
        let edge = self.usual.as_ref()?;
        let side = [&edge.client_counters, &edge.server_counters][at];
        read(side.as_ref()?)
    }
}
