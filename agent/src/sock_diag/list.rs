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
    dump(route, (states, 0), |body| each(parse(body)))
}

/// The same, as the kernel wrote it: gives the body of each answer, which has what the bits of `also`
/// in `idiag_ext` stand for, too.
pub(crate) fn dump(
    route: &mut Route,
    (states, also): (u32, u8),
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    for family in FAMILIES {
        let body = Body::new(&request_all(family, states, also));
        let listed = route.dump((BY_FAMILY, BY_FAMILY), &body, &mut each);
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
