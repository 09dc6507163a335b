//! What a service manager is told: ready, still alive, ending.
//!
//! The protocol of `sd_notify(3)`: one datagram with `KEY=value` lines to the socket that
//! `NOTIFY_SOCKET` names. It is a few lines, so nothing is linked for it. Managers other than
//! systemd speak it too; without one all of this does nothing.

#![forbid(unsafe_code)]

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The connection to a service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    /// Half of what the manager waits for a heartbeat.
    every: Option<Duration>,
    said_at: Option<Instant>,
}

impl Notifier {
    /// Connects to the manager that started this process.
    ///
    /// To be called before the jail is entered: the socket is outside, and a connected one needs no
    /// path any more. What cannot be reached is left out with a warning; the manager will then say
    /// that nobody became ready.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok();
        let Some(place) = variable("NOTIFY_SOCKET").filter(|place| !place.is_empty()) else {
            return Self::default();
        };
        match connect(&place) {
            Ok(socket) => Self {
                socket: Some(socket),
                every: sign_of_life(
                    variable("WATCHDOG_USEC").as_deref(),
                    variable("WATCHDOG_PID").as_deref(),
                    std::process::id(),
                ),
                said_at: None,
            },
            Err(error) => {
                log::warn!(socket = place.as_str(), error:% = error; "service manager not reached");
                Self::default()
            }
        }
    }

    /// Says that what the program is for has begun; `status` is one line for people.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// Says that configuration is read again; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        self.say("RELOADING=1");
    }

    /// How often the manager wants to hear that the program is alive; `None` where it does not.
    #[must_use]
    pub fn every(&self) -> Option<Duration> {
        self.every
    }

    /// Says that the program is alive, where the manager wants to know it and it is time to.
    pub fn alive(&mut self, now: Instant) {
        let Some(every) = self.every else {
            return;
        };
        let due = self
            .said_at
            .is_none_or(|at| now.saturating_duration_since(at) >= every);
        if due {
            self.said_at = Some(now);
            self.heartbeat();
        }
    }

    /// The same at once.
    pub fn heartbeat(&self) {
        self.say("WATCHDOG=1");
    }

    /// Says that the program ends by intention.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// A word that is not taken is not repeated: the next heartbeat says as much.
    fn say(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text.as_bytes())
        {
            log::warn!(error:% = error; "service manager not told");
        }
    }
}

/// `@name` is in the abstract namespace, everything else a path (systemd.exec(5), NOTIFY_SOCKET).
fn connect(place: &str) -> io::Result<UnixDatagram> {
    let address = match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that does not read must not hold up the event loop.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Half of the manager's patience, in microseconds in `usec`, if it is meant for process `own`
/// (sd_watchdog_enabled(3)).
fn sign_of_life(usec: Option<&str>, process: Option<&str>, own: u32) -> Option<Duration> {
    let usec: u64 = usec?.parse().ok().filter(|usec| *usec > 0)?;
    let ours = process.is_none_or(|process| process.parse() == Ok(own));
    ours.then(|| Duration::from_micros(usec / 2))
}

#[cfg(test)]
mod tests {
    use super::{Notifier, connect, sign_of_life};
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::{Duration, Instant};

    fn told(manager: &UnixDatagram) -> String {
        let mut text = [0; 256];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_reached_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("waybill-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (manager, place) in [
            (&by_path, path.to_str().unwrap().to_owned()),
            (&by_name, format!("@{name}")),
        ] {
            let notifier = Notifier {
                socket: Some(connect(&place).unwrap()),
                ..Notifier::default()
            };
            notifier.ready("mode sockops");
            assert_eq!(told(manager), "READY=1\nSTATUS=mode sockops");
            notifier.reloading();
            assert_eq!(told(manager), "RELOADING=1");
            notifier.stopping();
            assert_eq!(told(manager), "STOPPING=1");
        }
    }

    #[test]
    fn a_sign_of_life_is_given_when_half_of_the_time_is_over() {
        let (manager, socket) = UnixDatagram::pair().unwrap();
        manager.set_nonblocking(true).unwrap();
        let mut notifier = Notifier {
            socket: Some(socket),
            every: sign_of_life(Some("10000000"), None, 1),
            said_at: None,
        };
        let start = Instant::now();
        for (seconds, said) in [(0, true), (4, false), (5, true), (9, false), (10, true)] {
            notifier.alive(start + Duration::from_secs(seconds));
            assert_eq!(manager.recv(&mut [0; 64]).is_ok(), said, "{seconds} s");
        }
    }

    #[test]
    fn what_is_meant_for_another_process_or_is_no_time_is_not_taken() {
        let every = |usec, process| sign_of_life(usec, process, 7);
        assert_eq!(
            every(Some("2000000"), Some("7")),
            Some(Duration::from_secs(1))
        );
        assert_eq!(every(Some("2000000"), Some("8")), None);
        assert_eq!(every(Some("0"), None), None);
        assert_eq!(every(Some("soon"), None), None);
        assert_eq!(every(None, None), None);
    }

    #[test]
    fn without_a_manager_nothing_is_said_and_nothing_fails() {
        let mut nobody = Notifier::default();
        nobody.ready("observe");
        nobody.alive(Instant::now());
        nobody.stopping();
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier {
            socket: Some(connect(path.to_str().unwrap()).unwrap()),
            ..Notifier::default()
        };
        for _ in 0..10_000 {
            notifier.stopping();
        }
    }
}
