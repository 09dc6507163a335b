//! What edges are by the declared matrix.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::alert::finding::Subject;
use crate::escape::shorten;
use crate::join::{Picture, Told};
use crate::matrix::{EdgeState, Flow, Held, Line, SeenNode, Why};
use crate::store::AddressOf;
use crate::topology::Edge;

/// Characters of a field of a flow that alerts show.
const SHOWN: usize = 200;

/// The declared matrix beside a picture.
pub(super) struct Declared {
    held: Arc<Held<'static>>,
    nodes: Vec<SeenNode>,
    /// The end of the window, Unix milliseconds.
    at_ms: i64,
    /// Flows as subjects, by their places; each is made once.
    subjects: HashMap<usize, Arc<Subject>>,
}

/// What an edge is.
pub(super) struct Verdict {
    pub(super) word: &'static str,
    /// The flow that says so.
    pub(super) flow: Option<Stands>,
}

/// A flow that says what an edge is.
pub(super) struct Stands {
    pub(super) subject: Arc<Subject>,
    pub(super) id: String,
    pub(super) owner: String,
    /// Milliseconds until it ends, where it does.
    pub(super) valid_for_ms: Option<i64>,
}

impl Declared {
    /// `addresses`: those that services had; none where no flow names one.
    pub(super) fn of(
        held: Arc<Held<'static>>,
        picture: &Picture,
        addresses: Vec<AddressOf>,
        at_ms: i64,
    ) -> Self {
        let mut own: BTreeMap<(String, String), Vec<IpAddr>> = BTreeMap::new();
        for found in addresses {
            let of = own.entry((found.host, found.service)).or_default();
            of.push(found.ip);
        }
        let nodes = picture.nodes().map(|node| {
            let process = node.process.as_ref();
            let key = process.map(|process| (process.host.clone(), process.service.clone()));
            let addresses = key.and_then(|key| own.get(&key)).cloned();
            SeenNode::new(node, addresses.unwrap_or_default())
        });
        Self {
            nodes: nodes.collect(),
            held,
            at_ms,
            subjects: HashMap::new(),
        }
    }

    pub(super) fn verdict(&mut self, told: Told<'_>, edge: &Edge) -> Verdict {
        let line = Line::new(String::new(), told.ends(), edge);
        let decided = self.held.edge(&line, &self.nodes, self.at_ms);
        let flow = decided.flows.first().copied();
        let word = match decided.state {
            EdgeState::Declared => "declared",
            EdgeState::Undeclared => "undeclared",
            EdgeState::Undecided => "undecided",
            EdgeState::Violating => {
                let is_denied = flow.is_some_and(|at| self.held.flows()[at].is_denied());
                match decided.why.contains(&Why::UsedAfterEnd) && !is_denied {
                    true => "expired",
                    false => "denied",
                }
            }
        };
        Verdict {
            word,
            flow: flow.map(|at| self.stands(at)),
        }
    }

    fn stands(&mut self, at: usize) -> Stands {
        let flow = &self.held.flows()[at];
        let subject = self.subjects.entry(at);
        Stands {
            subject: Arc::clone(subject.or_insert_with(|| Arc::new(subject_of(flow)))),
            id: shorten(&flow.id, SHOWN),
            owner: shorten(&flow.text.owner, SHOWN),
            valid_for_ms: flow
                .valid_until_ms
                .map(|until| until.saturating_sub(self.at_ms)),
        }
    }
}

fn subject_of(flow: &Flow) -> Subject {
    let shown = |text: &String| shorten(text.trim(), SHOWN);
    Subject::Flow {
        id: shown(&flow.id),
        source: shown(&flow.text.source),
        destination: shown(&flow.text.destination),
        port: shown(&flow.text.port),
        owner: shown(&flow.text.owner),
    }
}
