//! All sockets of a network namespace, as the kernel lists them.

use std::io;

use super::message::{BY_FAMILY, FAMILIES, Socket, parse, request_all};
use crate::netlink::{Body, Route};

/// Lists all TCP sockets of the namespace in these states, of both families.
pub(crate) fn list(
    route: &mut Route,
    states: u32,
    mut each: impl FnMut(Option<Socket>),
) -> io::Result<()> {
    for family in FAMILIES {
        let body = Body::new(&request_all(family, states));
        let listed = route.dump((BY_FAMILY, BY_FAMILY), &body, |body| each(parse(body)));
        match listed {
            // A kernel without IPv6 has no such sockets.
            Err(error) if family != FAMILIES[0] && error.kind() == io::ErrorKind::NotFound => {}
            other => whole(other)?,
        }
    }
    Ok(())
}

/// A list that changed while it was made lacks something, perhaps.
fn whole(listed: io::Result<bool>) -> io::Result<()> {
    match listed? {
        true => Err(io::Error::other("it changed while it was listed")),
        false => Ok(()),
    }
}
