//! Packet filters of mode `tc-clone` on the devices of this network namespace.
//!
//! Filters outlive their process, so they do nothing without the agent's heartbeat, are recognised
//! by name and handle, and are removed at the end and by the next start. A process of its own, the
//! `keeper`, keeps them. Other filters and queueing disciplines are never changed: ours are added
//! beside them, and a `clsact` goes only if we made it, which the handle says, and nobody else hangs
//! on it.

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
use crate::netlink::{
    Body, DeviceNews, NLM_F_CREATE, NLM_F_EXCL, News, RTM_NEWLINK, Route, attributes, text, u32_at,
};
use device::{Device, Shape};

/// `linux/rtnetlink.h`
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// `linux/if_link.h`: no statistics, which are most of a message.
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
/// `linux/pkt_cls.h`
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
/// `linux/pkt_sched.h`
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
const ETH_P_ALL: u16 = 0x0003;

/// Names of all our filters begin so.
const NAME: &str = "wb_clone_";
/// Our handle where the `clsact` was there before.
const BESIDE: u32 = 0x5742_0001;
/// Our handle where we made the `clsact`: who removes the filter may remove that, too.
const ON_OURS: u32 = 0x5742_0002;
/// Tried in turn: a priority belongs to one kind of filter and one protocol. The first is best,
/// because the copy must pass the filters of others as often as its original does.
const PRIORITIES: [u32; 4] = [1, 2, 3, 5];
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

/// A filter as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    parent: u32,
    handle: u32,
    priority: u32,
    ours: bool,
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

fn devices(route: &mut Route) -> io::Result<Vec<Device>> {
    let mut devices = Vec::new();
    let body = Body::new(&[0; 16]).with(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    route.dump((RTM_GETLINK, RTM_NEWLINK), &body, |entry| {
        devices.extend(Device::parse(entry));
    })?;
    Ok(devices)
}

/// `struct tcmsg`
fn tcmsg(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, index, handle, parent, info]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect()
}

/// Kind of the queueing discipline that holds a device's filters: `clsact`, or the older `ingress`.
fn filter_holders(route: &mut Route) -> io::Result<BTreeMap<u32, String>> {
    let mut found = BTreeMap::new();
    route.dump(
        (RTM_GETQDISC, RTM_NEWQDISC),
        &Body::new(&tcmsg(0, 0, 0, 0)),
        |entry| {
            let kind = attributes(entry.get(20..).unwrap_or_default())
                .find(|(kind, _)| *kind == TCA_KIND)
                .map(|(_, value)| text(value));
            if let (Some(index), Some(TC_H_CLSACT), Some(kind)) =
                (u32_at(entry, 4), u32_at(entry, 12), kind)
            {
                found.insert(index, kind);
            }
        },
    )?;
    Ok(found)
}

/// All filters on a device's `clsact`, of both directions.
fn filters(route: &mut Route, index: u32) -> io::Result<Vec<Listed>> {
    let mut found = Vec::new();
    for parent in [INGRESS, EGRESS] {
        let body = Body::new(&tcmsg(index, 0, parent, 0));
        route.dump((RTM_GETTFILTER, RTM_NEWTFILTER), &body, |entry| {
            found.extend(listed(entry, parent))
        })?;
    }
    Ok(found)
}

fn listed(entry: &[u8], parent: u32) -> Option<Listed> {
    let handle = u32_at(entry, 8)?;
    let mut name = String::new();
    for (kind, value) in attributes(entry.get(20..)?) {
        if kind == TCA_OPTIONS {
            let found = attributes(value).find(|(kind, _)| *kind == TCA_BPF_NAME);
            name = found.map(|(_, value)| text(value)).unwrap_or_default();
        }
    }
    // Each priority is listed once more, with no handle, for the list of its filters.
    (handle != 0).then(|| Listed {
        parent,
        handle,
        priority: u32_at(entry, 16).map_or(0, |info| info >> 16),
        ours: (handle == BESIDE || handle == ON_OURS) && name.starts_with(NAME),
    })
}

/// Makes sure that both filters are there; true when something had to be done.
fn attach(
    route: &mut Route,
    index: u32,
    holder: Option<&String>,
    [(out_name, out), (in_name, arriving)]: [(&str, BorrowedFd<'_>); 2],
) -> io::Result<bool> {
    let made = match holder.map(String::as_str) {
        None => {
            make_clsact(route, index)?;
            true
        }
        Some("clsact") => false,
        // A filter for what leaves would be taken, and would see what arrives.
        Some(other) => {
            return Err(io::Error::other(format!(
                "its queueing discipline {other} has no place for filters of what leaves"
            )));
        }
    };
    let there = if made {
        Vec::new()
    } else {
        filters(route, index)?
    };
    let ours = |parent| there.iter().find(|one| one.ours && one.parent == parent);
    let handle = match (made, ours(EGRESS).or(ours(INGRESS))) {
        (true, _) => ON_OURS,
        (false, Some(known)) => known.handle,
        (false, None) => BESIDE,
    };
    let mut changed = false;
    for (parent, name, program) in [(EGRESS, out_name, out), (INGRESS, in_name, arriving)] {
        if ours(parent).is_none() {
            add(route, index, parent, handle, (name, program))?;
            changed = true;
        }
    }
    Ok(changed)
}

/// Whether the kernel had no room, or no time, just now.
fn is_passing(error: &io::Error) -> bool {
    let passing = [Errno::ENOBUFS, Errno::ENOMEM, Errno::EAGAIN, Errno::EINTR];
    passing
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Fails when something is there already.
fn make_clsact(route: &mut Route, index: u32) -> io::Result<()> {
    let body = Body::new(&tcmsg(index, CLSACT_HANDLE, TC_H_CLSACT, 0)).with(TCA_KIND, b"clsact\0");
    route.request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &body)
}

fn add(
    route: &mut Route,
    index: u32,
    parent: u32,
    handle: u32,
    (name, program): (&str, BorrowedFd<'_>),
) -> io::Result<()> {
    let options = Body::default()
        .with(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes())
        .with(TCA_BPF_NAME, format!("{name}\0").as_bytes())
        .with(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes());
    let mut refusal = None;
    for priority in PRIORITIES {
        let info = priority << 16 | u32::from(ETH_P_ALL.to_be());
        let body = Body::new(&tcmsg(index, handle, parent, info))
            .with(TCA_KIND, b"bpf\0")
            .with_nested(TCA_OPTIONS, &options);
        match route.request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &body) {
            Ok(()) => return Ok(()),
            // The priority is taken by a filter of another kind or protocol.
            Err(error) if is_taken(&error) => refusal = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refusal.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

fn is_taken(error: &io::Error) -> bool {
    let taken = [Errno::EINVAL, Errno::EEXIST, Errno::ENOENT];
    taken
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Removes our filters from a device, and its `clsact` where that is ours and nobody else's.
fn detach(route: &mut Route, index: u32) -> io::Result<()> {
    let there = filters(route, index)?;
    let (ours, foreign): (Vec<_>, Vec<_>) = there.into_iter().partition(|one| one.ours);
    for one in &ours {
        let info = one.priority << 16 | u32::from(ETH_P_ALL.to_be());
        let body = Body::new(&tcmsg(index, one.handle, one.parent, info)).with(TCA_KIND, b"bpf\0");
        match route.request(RTM_DELTFILTER, 0, &body) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    if foreign.is_empty() && ours.iter().any(|one| one.handle == ON_OURS) {
        let body =
            Body::new(&tcmsg(index, CLSACT_HANDLE, TC_H_CLSACT, 0)).with(TCA_KIND, b"clsact\0");
        route.request(RTM_DELQDISC, 0, &body)?;
    }
    Ok(())
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
