//! What is said to the kernel about `clsact` and the filters on it, and what it lists.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;

use super::device::Device;
use crate::netlink::{
    Body, NLM_F_CREATE, NLM_F_EXCL, RTM_NEWLINK, Route, attributes, text, u32_at,
};

/// `linux/rtnetlink.h`
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
pub(super) const TCA_KIND: u16 = 1;
pub(super) const TCA_OPTIONS: u16 = 2;
/// `linux/if_link.h`: no statistics, which are most of a message.
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
/// `linux/pkt_cls.h`
const TCA_BPF_FD: u16 = 6;
pub(super) const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
/// `linux/pkt_sched.h`
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
pub(super) const INGRESS: u32 = 0xffff_fff2;
pub(super) const EGRESS: u32 = 0xffff_fff3;
const ETH_P_ALL: u16 = 0x0003;

/// Names of all our filters begin so.
const NAME: &str = "wb_clone_";
/// Our handle where the `clsact` was there before.
pub(super) const BESIDE: u32 = 0x5742_0001;
/// Our handle where we made the `clsact`: who removes the filter may remove that, too.
pub(super) const ON_OURS: u32 = 0x5742_0002;
/// Tried in turn: a priority belongs to one kind of filter and one protocol. The first is best,
/// because the copy must pass the filters of others as often as its original does.
const PRIORITIES: [u32; 4] = [1, 2, 3, 5];

/// A filter as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) parent: u32,
    pub(super) handle: u32,
    pub(super) priority: u32,
    pub(super) ours: bool,
}

pub(super) fn devices(route: &mut Route) -> io::Result<Vec<Device>> {
    let mut devices = Vec::new();
    let body = Body::new(&[0; 16]).with(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    route.dump((RTM_GETLINK, RTM_NEWLINK), &body, |entry| {
        devices.extend(Device::parse(entry));
    })?;
    Ok(devices)
}

/// `struct tcmsg`
pub(super) fn tcmsg(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, index, handle, parent, info]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect()
}

/// Kind of the queueing discipline that holds a device's filters: `clsact`, or the older `ingress`.
pub(super) fn filter_holders(route: &mut Route) -> io::Result<BTreeMap<u32, String>> {
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
pub(super) fn filters(route: &mut Route, index: u32) -> io::Result<Vec<Listed>> {
    let mut found = Vec::new();
    for parent in [INGRESS, EGRESS] {
        let body = Body::new(&tcmsg(index, 0, parent, 0));
        route.dump((RTM_GETTFILTER, RTM_NEWTFILTER), &body, |entry| {
            found.extend(listed(entry, parent))
        })?;
    }
    Ok(found)
}

pub(super) fn listed(entry: &[u8], parent: u32) -> Option<Listed> {
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
pub(super) fn attach(
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

/// Fails when something is there already.
pub(super) fn make_clsact(route: &mut Route, index: u32) -> io::Result<()> {
    let body = Body::new(&tcmsg(index, CLSACT_HANDLE, TC_H_CLSACT, 0)).with(TCA_KIND, b"clsact\0");
    route.request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &body)
}

pub(super) fn add(
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

pub(super) fn is_taken(error: &io::Error) -> bool {
    let taken = [Errno::EINVAL, Errno::EEXIST, Errno::ENOENT];
    taken
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Removes our filters from a device, and its `clsact` where that is ours and nobody else's.
pub(super) fn detach(route: &mut Route, index: u32) -> io::Result<()> {
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
