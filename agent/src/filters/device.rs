//! Which devices get packet filters, and of which shape. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::netlink::{attributes, text, u16_at, u32_at};

/// `linux/if.h`
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
/// `linux/if_link.h`
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
/// `linux/if_arp.h`: devices whose packets begin with the IP header.
const RAW_IP_TYPES: [u16; 8] = [
    512,   // ppp
    519,   // raw IP, as modems make
    768,   // tunnel
    769,   // tunnel over IPv6
    776,   // sit
    778,   // gre
    823,   // gre over IPv6
    65534, // none: tun, wireguard
];
const ARPHRD_ETHER: u16 = 1;

/// Devices that send what their master was given, where it was looked at already.
const BUNDLED: [&str; 3] = ["bond", "team", "failover"];
/// Devices that pass packets on by themselves, without this host's routing.
const SWITCHED: [&str; 3] = ["bridge", "openvswitch", "hsr"];
/// Devices that give to a virtual machine what arrives at the one below them.
const TAPPED: [&str; 2] = ["macvtap", "ipvtap"];
/// Devices that carry no connections of their own.
const IDLE: [&str; 4] = ["ifb", "nlmon", "vrf", "netdevsim"];

/// One device of the network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) index: u32,
    pub(super) name: String,
    /// `ARPHRD_*`
    hardware: u16,
    up: bool,
    loopback: bool,
    /// What it is: `veth`, `vlan`, ...; empty for hardware.
    kind: String,
    /// What its master is.
    master_kind: String,
    /// The device below it, when it is in the same namespace.
    below: Option<u32>,
}

impl Device {
    /// Reads the body of a link message.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let flags = u32_at(body, 8)?;
        let mut device = Self {
            hardware: u16_at(body, 2)?,
            index: u32_at(body, 4)?,
            up: flags & IFF_UP != 0,
            loopback: flags & IFF_LOOPBACK != 0,
            ..Self::default()
        };
        let mut elsewhere = false;
        for (kind, value) in attributes(body.get(16..)?) {
            match kind {
                IFLA_IFNAME => device.name = text(value),
                IFLA_LINK => device.below = u32_at(value, 0),
                IFLA_LINK_NETNSID => elsewhere = true,
                IFLA_LINKINFO => {
                    for (kind, value) in attributes(value) {
                        match kind {
                            IFLA_INFO_KIND => device.kind = text(value),
                            IFLA_INFO_SLAVE_KIND => device.master_kind = text(value),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if elsewhere {
            device.below = None;
        }
        Some(device)
    }
}

/// The shape of filters that fits a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// Ethernet; what arrives is for this host, or is routed by it.
    Ethernet,
    /// Ethernet; what arrives may be passed on without this host's routing.
    Port,
    /// Packets begin with the IP header.
    RawIp,
}

/// Every device that gets filters. `attached` says whether one has them already: those that go
/// down keep them, so that an unsteady link does not make work.
pub(super) fn choose(
    devices: &[Device],
    attached: impl Fn(u32) -> bool,
) -> BTreeMap<u32, (String, Shape)> {
    let is = |kind: &str, kinds: &[&str]| kinds.contains(&kind);
    let tapped: BTreeSet<u32> = devices
        .iter()
        .filter(|device| is(&device.kind, &TAPPED))
        .filter_map(|device| device.below)
        .collect();
    let shape = |device: &Device| {
        if RAW_IP_TYPES.contains(&device.hardware) {
            Some(Shape::RawIp)
        } else if device.hardware != ARPHRD_ETHER {
            None
        } else if is(&device.master_kind, &SWITCHED) || tapped.contains(&device.index) {
            Some(Shape::Port)
        } else {
            Some(Shape::Ethernet)
        }
    };
    devices
        .iter()
        .filter(|device| device.up || attached(device.index))
        .filter(|device| !device.loopback && !is(&device.kind, &IDLE))
        .filter(|device| !is(&device.master_kind, &BUNDLED))
        .filter_map(|device| Some((device.index, (device.name.clone(), shape(device)?))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, name: &str) -> Device {
        Device {
            index,
            name: name.into(),
            hardware: ARPHRD_ETHER,
            up: true,
            ..Device::default()
        }
    }

    fn chosen(devices: &[Device]) -> Vec<(String, Shape)> {
        choose(devices, |_| false).into_values().collect()
    }

    #[test]
    fn a_plain_device_is_chosen_and_loopback_and_what_is_down_are_not() {
        let mut loopback = device(1, "lo");
        loopback.loopback = true;
        let mut down = device(3, "eth1");
        down.up = false;
        let devices = [loopback, device(2, "eth0"), down];
        assert_eq!(chosen(&devices), [("eth0".into(), Shape::Ethernet)]);
        let kept = choose(&devices, |index| index == 3);
        assert!(
            kept.contains_key(&3),
            "a device that went down keeps its filters"
        );
    }

    #[test]
    fn a_bundle_is_chosen_instead_of_its_members() {
        let mut member = device(2, "eth0");
        member.master_kind = "bond".into();
        let mut bond = device(3, "bond0");
        bond.kind = "bond".into();
        assert_eq!(chosen(&[member, bond]), [("bond0".into(), Shape::Ethernet)]);
    }

    #[test]
    fn ports_of_a_bridge_pass_copies_on_and_the_bridge_itself_does_not() {
        let mut port = device(2, "veth1");
        port.kind = "veth".into();
        port.master_kind = "bridge".into();
        let mut bridge = device(3, "br0");
        bridge.kind = "bridge".into();
        assert_eq!(
            chosen(&[port, bridge]),
            [
                ("veth1".into(), Shape::Port),
                ("br0".into(), Shape::Ethernet)
            ]
        );
    }

    #[test]
    fn a_device_below_a_tap_passes_copies_on_but_not_one_of_another_namespace() {
        let mut tap = device(3, "macvtap0");
        tap.kind = "macvtap".into();
        tap.below = Some(2);
        let devices = [device(2, "eth0"), tap.clone()];
        assert_eq!(chosen(&devices)[0], ("eth0".into(), Shape::Port));
        tap.below = None;
        let devices = [device(2, "eth0"), tap];
        assert_eq!(chosen(&devices)[0], ("eth0".into(), Shape::Ethernet));
    }

    #[test]
    fn tunnels_begin_with_the_ip_header_and_unknown_hardware_is_left_alone() {
        let mut tunnel = device(2, "tun0");
        tunnel.hardware = 65534;
        let mut infiniband = device(3, "ib0");
        infiniband.hardware = 32;
        assert_eq!(
            chosen(&[tunnel, infiniband]),
            [("tun0".into(), Shape::RawIp)]
        );
    }

    #[test]
    fn a_link_message_is_read_and_a_torn_one_is_not() {
        let mut body = vec![0, 0, 1, 0];
        body.extend(7_u32.to_ne_bytes());
        body.extend((IFF_UP | 0x40).to_ne_bytes());
        body.extend([0; 4]);
        let attribute = |kind: u16, value: &[u8]| {
            let length = u16::try_from(value.len() + 4).unwrap();
            let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        body.extend(attribute(IFLA_IFNAME, b"eth0\0"));
        body.extend(attribute(IFLA_LINK, &9_u32.to_ne_bytes()));
        let info = [
            attribute(IFLA_INFO_KIND, b"veth"),
            attribute(IFLA_INFO_SLAVE_KIND, b"bridge"),
        ];
        body.extend(attribute(IFLA_LINKINFO, &info.concat()));
        let read = Device::parse(&body).unwrap();
        assert_eq!((read.index, read.name.as_str()), (7, "eth0"));
        assert_eq!(
            (read.kind.as_str(), read.master_kind.as_str()),
            ("veth", "bridge")
        );
        assert_eq!(read.below, Some(9));
        body.extend(attribute(IFLA_LINK_NETNSID, &0_u32.to_ne_bytes()));
        assert_eq!(Device::parse(&body).unwrap().below, None);
        assert!(Device::parse(&body[..12]).is_none());
    }
}
