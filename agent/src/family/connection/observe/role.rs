//! Which side of a connection this host is, by its socket: its numbers, then who listens. Pure.

use wire::Role;

use crate::family::process::Owners;
use crate::sock_diag::{self, Socket};

/// `None` where neither tells.
pub(super) fn of(owners: &Owners, space: u16, socket: &Socket) -> Option<Role> {
    by_numbers(socket).or_else(|| {
        let listener = owners.listener(space, socket.local);
        listener.map(|_| Role::Server)
    })
}

/// Who connects has its SYN among what was acknowledged (`tcp_ack()` in SYN-SENT), while a
/// listener's child begins behind its SYN-ACK (`tcp_create_openreq_child()`).
fn by_numbers(socket: &Socket) -> Option<Role> {
    let info = socket.info?;
    if socket.state == sock_diag::SYN_SENT {
        return Some(Role::Client);
    }
    let ([sent, again], acked) = (info.sent?, info.acknowledged?);
    let unacked = u64::from(socket.unacknowledged).checked_sub(u64::from(info.unsent))?;
    let beyond = (acked + unacked).checked_sub(sent.checked_sub(again)?)?;
    let fin = match socket.state {
        sock_diag::ESTABLISHED | sock_diag::CLOSE_WAIT => 0,
        sock_diag::FIN_WAIT2 => 1,
        // Whether the FIN is among what was sent is not said.
        sock_diag::FIN_WAIT1 | sock_diag::CLOSING | sock_diag::LAST_ACK if info.unsent == 0 => 1,
        // Closed: with or without a FIN.
        sock_diag::CLOSE => {
            return match beyond {
                0 => Some(Role::Server),
                2 => Some(Role::Client),
                _ => None,
            };
        }
        _ => return None,
    };
    match beyond.checked_sub(fin)? {
        0 => Some(Role::Server),
        1 => Some(Role::Client),
        // Read while they changed.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sock_diag::Info;

    fn socket(state: u8, acknowledged: u64, sent: u64, queue: (u32, u32)) -> Socket {
        let end = wire::Endpoint {
            addr: [1; 16],
            port: 1,
        };
        Socket {
            state,
            local: end,
            remote: end,
            inode: 1,
            uid: 0,
            cgroup_id: 0,
            unacknowledged: queue.0,
            info: Some(Info {
                acknowledged: Some(acknowledged),
                sent: Some([sent + 30, 30]),
                unsent: queue.1,
                ..Info::default()
            }),
        }
    }

    #[test]
    fn who_connected_has_its_syn_among_what_was_acknowledged() {
        for (client, role) in [(1, Role::Client), (0, Role::Server)] {
            for (state, fin) in [
                (sock_diag::ESTABLISHED, 0),
                (sock_diag::CLOSE_WAIT, 0),
                (sock_diag::FIN_WAIT2, 1),
                (sock_diag::LAST_ACK, 1),
            ] {
                let idle = socket(state, 100 + client + fin, 100, (0, 0));
                assert_eq!(by_numbers(&idle), Some(role), "{state}");
                // 40 bytes are on their way, and 60 more wait.
                let busy = socket(state, 60 + client + fin, 100, (100, 60));
                let known = state != sock_diag::LAST_ACK;
                assert_eq!(by_numbers(&busy), known.then_some(role), "{state}");
            }
        }
    }

    #[test]
    fn a_closed_socket_tells_only_where_its_fin_makes_no_difference() {
        let closed = |beyond: u64| by_numbers(&socket(sock_diag::CLOSE, 100 + beyond, 100, (0, 0)));
        assert_eq!(closed(0), Some(Role::Server));
        assert_eq!(closed(1), None);
        assert_eq!(closed(2), Some(Role::Client));
    }

    #[test]
    fn numbers_that_do_not_fit_together_tell_nothing() {
        for (acknowledged, sent, queue) in [(90, 100, (0, 0)), (102, 100, (0, 0)), (1, 0, (5, 9))] {
            let torn = socket(sock_diag::ESTABLISHED, acknowledged, sent, queue);
            assert_eq!(by_numbers(&torn), None);
        }
        let mut old = socket(sock_diag::ESTABLISHED, 101, 100, (0, 0));
        old.info.as_mut().unwrap().sent = None;
        assert_eq!(by_numbers(&old), None, "before 4.19");
    }
}
