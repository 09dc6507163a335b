//! Packet filters of mode `tc-clone` on the devices of this network namespace.
//!
//! Filters outlive their process, so they do nothing without the agent's heartbeat, are recognised
//! by name and handle, and are removed at the end and by the next start. A process of its own, the
//! `keeper`, keeps them. Other filters and queueing disciplines are never changed: ours are added
//! beside them, and a `clsact` goes only if we made it, which the handle says, and nobody else hangs
//! on it.

mod clsact;
mod device;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::{Context as _, Result};
use log::{info, warn};
use nix::errno::Errno;

use crate::clock::monotonic_ms;
use crate::netlink::{DeviceNews, News, Route};
use clsact::{
    EGRESS, INGRESS, ON_OURS, add, attach, detach, devices, filter_holders, filters, make_clsact,
};
use device::Shape;
/// Messages about devices read in one look; all they say is that devices must be looked at.
const NEWS: usize = 256;
/// How long the keeper of a killed agent may take to remove its filters.
const RELEASED_MS: u64 = 2_000;
/// Held by the one agent that may have filters in a network namespace.
const LOCK: &[u8] = b"waybill-agent/tc-clone";

/// The programs, by the shape of device they are for.
#[derive(Debug)]
pub struct Programs {
    /// Ethernet, leaving.
    pub out: OwnedFd,
    /// Ethernet, arriving.
    pub arriving: OwnedFd,
    /// Ethernet, arriving at a device that passes packets on.
    pub port: Option<OwnedFd>,
    /// Without link header: leaving, arriving.
    pub raw_ip: Option<(OwnedFd, OwnedFd)>,
}

impl Programs {
    /// Name and program, leaving and arriving.
    fn of(&self, shape: Shape) -> Option<[(&'static str, BorrowedFd<'_>); 2]> {
        let out = ("wb_clone_out", self.out.as_fd());
        match shape {
            Shape::Ethernet => Some([out, ("wb_clone_in", self.arriving.as_fd())]),
            Shape::Port => Some([out, ("wb_clone_in_pt", self.port.as_ref()?.as_fd())]),
            Shape::RawIp => {
                let (out, arriving) = self.raw_ip.as_ref()?;
                Some([
                    ("wb_clone_out_ip", out.as_fd()),
                    ("wb_clone_in_ip", arriving.as_fd()),
                ])
            }
        }
    }
}

/// What was attached to a device.
#[derive(Debug)]
struct Attached {
    name: String,
    shape: Shape,
}

/// Filters on every device that needs them; removed when dropped.
#[derive(Debug)]
pub struct Filters {
    route: Route,
    news: DeviceNews,
    programs: Programs,
    attached: BTreeMap<u32, Attached>,
    /// Devices that the kernel refused, with its reason.
    refused: BTreeMap<u32, String>,
    forwards: bool,
    pending: News,
    lock: UnixDatagram,
}

impl Filters {
    /// Takes the place of the one agent with filters here, and removes what a killed one left.
    ///
    /// # Errors
    /// Another agent has filters in this network namespace, or the kernel has no netlink.
    pub fn open(programs: Programs) -> Result<Self> {
        let lock = lock()?;
        let mut route = Route::open().context("open a netlink socket")?;
        sweep(&mut route).context("remove filters that a killed agent left")?;
        Ok(Self {
            route,
            news: DeviceNews::open().context("listen for news of devices")?,
            programs,
            attached: BTreeMap::new(),
            refused: BTreeMap::new(),
            forwards: forwards(),
            pending: News::default(),
            lock,
        })
    }

    /// Everything that it works with.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let programs = &self.programs;
        let raw_ip = programs
            .raw_ip
            .iter()
            .flat_map(|(out, arriving)| [out, arriving]);
        let all = [&programs.out, &programs.arriving].into_iter();
        let sockets = [self.route.as_fd(), self.news.as_fd(), self.lock.as_fd()];
        all.chain(&programs.port)
            .chain(raw_ip)
            .map(|one| one.as_raw_fd())
            .chain(sockets.map(|one| one.as_raw_fd()))
    }

    /// Lets go of the filters without removing them: another process keeps them.
    pub(crate) fn disarm(mut self) {
        self.attached.clear();
    }

    /// Becomes readable when devices change.
    #[must_use]
    pub fn news_fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    /// Takes note of what happened to devices, as much as one look may take; true when there may be
    /// more.
    pub fn take_news(&mut self) -> bool {
        self.news.take(NEWS, &mut self.pending)
    }

    /// Whether [`Filters::follow`] has something to do.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Devices with filters, and devices that refused them.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.attached.len(), self.refused.len())
    }

    /// Whether what arrives may be for another machine, as the last look at the devices found.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.forwards
    }

    /// Why the first device that refused did so.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.refused.values().next().map(String::as_str)
    }

    /// Attaches to devices that are new or lost something, and forgets those that are gone; with
    /// `all`, looks again at every device and at whether this host forwards.
    ///
    /// # Errors
    /// Devices cannot be listed: what happened to them is still to be answered.
    pub fn follow(&mut self, all: bool) -> Result<()> {
        let devices = devices(&mut self.route).context("list the devices")?;
        let wanted = device::choose(&devices, |index| self.attached.contains_key(&index));
        let there: BTreeSet<u32> = devices.iter().map(|device| device.index).collect();
        let holders = filter_holders(&mut self.route).context("list the queueing disciplines")?;
        let news = std::mem::take(&mut self.pending);
        let all = all || news.lost;
        if all {
            self.forwards = forwards();
        }
        self.refused.retain(|index, _| wanted.contains_key(index));
        let stale: Vec<u32> = self
            .attached
            .iter()
            .filter(|(index, had)| {
                wanted
                    .get(index)
                    .is_none_or(|(_, shape)| *shape != had.shape)
            })
            .map(|(index, _)| *index)
            .collect();
        for index in stale {
            self.attached.remove(&index);
            if there.contains(&index) {
                detach(&mut self.route, index).ok();
            }
        }
        for (index, (name, shape)) in wanted {
            if !all && self.attached.contains_key(&index) && !news.stripped.contains(&index) {
                continue;
            }
            self.attach(index, name, shape, holders.get(&index));
        }
        Ok(())
    }

    /// Attaches both directions; a device that refuses is remembered and said once.
    fn attach(&mut self, index: u32, name: String, shape: Shape, holder: Option<&String>) {
        let Some(programs) = self.programs.of(shape) else {
            self.refused
                .insert(index, format!("{name}: the kernel refused its programs"));
            return;
        };
        match attach(&mut self.route, index, holder, programs) {
            Ok(changed) => {
                if changed {
                    info!(device = name.as_str(), shape:? = shape; "filters attached");
                }
                self.refused.remove(&index);
                self.attached.insert(index, Attached { name, shape });
            }
            // It went away while we looked at it.
            Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => {}
            // Not the device's fault, and soon over: it is looked at again with the next news.
            Err(error) if is_passing(&error) => {
                self.attached.remove(&index);
                detach(&mut self.route, index).ok();
                self.pending.stripped.insert(index);
            }
            Err(error) => {
                self.attached.remove(&index);
                detach(&mut self.route, index).ok();
                let reason = format!("{name}: {error}");
                if self.refused.insert(index, reason.clone()).is_none() {
                    warn!(device = name.as_str(), error:% = error; "device refuses filters");
                }
            }
        }
    }
}

impl Drop for Filters {
    fn drop(&mut self) {
        for (index, attached) in std::mem::take(&mut self.attached) {
            match detach(&mut self.route, index) {
                Err(error) if error.raw_os_error() != Some(Errno::ENODEV as i32) => {
                    warn!(device = attached.name.as_str(), error:% = error; "filters not removed");
                }
                _ => {}
            }
        }
    }
}

/// Removes filters that a killed agent left in this network namespace, unless another agent runs
/// here; the number of devices that had any.
///
/// # Errors
/// The kernel has no netlink, or refuses.
pub fn clean() -> Result<usize> {
    let _lock = lock()?;
    let mut route = Route::open().context("open a netlink socket")?;
    sweep(&mut route).context("remove filters")
}

/// Attaches `program` to the loopback device of the calling thread's network namespace and removes
/// it again: only for a namespace that was made for this trial.
///
/// # Errors
/// What the kernel answers.
pub fn try_on_loopback(program: BorrowedFd<'_>) -> io::Result<()> {
    /// The first device of every namespace.
    const LOOPBACK: u32 = 1;
    let mut route = Route::open()?;
    make_clsact(&mut route, LOOPBACK)?;
    for parent in [EGRESS, INGRESS] {
        add(
            &mut route,
            LOOPBACK,
            parent,
            ON_OURS,
            ("wb_clone_trial", program),
        )?;
    }
    let listed = filters(&mut route, LOOPBACK)?;
    if listed.iter().filter(|one| one.ours).count() != 2 {
        return Err(io::Error::other("filters were taken but are not listed"));
    }
    detach(&mut route, LOOPBACK)
}

/// Abstract names belong to the network namespace and vanish with their holder.
fn lock() -> Result<UnixDatagram> {
    let name = SocketAddr::from_abstract_name(LOCK).context("name the lock")?;
    let give_up = monotonic_ms() + RELEASED_MS;
    loop {
        match UnixDatagram::bind_addr(&name) {
            // An agent that was killed may still have its keeper for a moment.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && monotonic_ms() < give_up => {
                std::thread::yield_now();
            }
            bound => {
                return bound.context("another agent has packet filters in this network namespace");
            }
        }
    }
}

/// Whether any device forwards, by IPv4 or IPv6: each device has a switch of its own.
#[must_use]
pub fn forwards() -> bool {
    ["/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"]
        .into_iter()
        .any(|family| match std::fs::read_dir(family) {
            Ok(devices) => devices.flatten().any(|device| {
                let switch = std::fs::read_to_string(device.path().join("forwarding"));
                // A device that went away does not forward; what cannot be read may.
                switch.map_or_else(
                    |error| error.kind() != io::ErrorKind::NotFound,
                    |switch| switch.trim() != "0",
                )
            }),
            // Without the directory there is no such protocol.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        })
}

/// Whether the kernel had no room, or no time, just now.
fn is_passing(error: &io::Error) -> bool {
    let passing = [Errno::ENOBUFS, Errno::ENOMEM, Errno::EAGAIN, Errno::EINTR];
    passing
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Removes our filters from every device; the number of devices that had any.
fn sweep(route: &mut Route) -> io::Result<usize> {
    let mut swept = 0;
    let holders = filter_holders(route)?;
    for (index, _) in holders.into_iter().filter(|(_, kind)| kind == "clsact") {
        if filters(route, index)?.iter().any(|one| one.ours) {
            detach(route, index)?;
            swept += 1;
        }
    }
    if swept > 0 {
        info!(devices = swept; "removed filters that a killed agent left");
    }
    Ok(swept)
}
