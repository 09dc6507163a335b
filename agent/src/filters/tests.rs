//! What is ours among filters, and what becomes of news.

use super::clsact::*;
use super::*;

fn entry(handle: u32, name: &str) -> Vec<u8> {
    let mut entry = tcmsg(2, handle, EGRESS, 1 << 16 | 0x0300);
    let name = format!("{name}\0");
    let attribute = |kind: u16, value: &[u8]| {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    entry.extend(attribute(TCA_KIND, b"bpf\0"));
    entry.extend(attribute(
        TCA_OPTIONS,
        &attribute(TCA_BPF_NAME, name.as_bytes()),
    ));
    entry
}

#[test]
fn news_that_could_not_be_answered_are_answered_later() {
    // A socket whose other end is closed: every request fails, as with ENOBUFS.
    let (broken, _) = UnixDatagram::pair().unwrap();
    let program = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let stripped = News {
        devices: true,
        stripped: BTreeSet::from([7]),
        lost: true,
    };
    let mut filters = Filters {
        route: Route::on(broken.into()),
        news: DeviceNews::open().unwrap(),
        programs: Programs {
            out: program(),
            arriving: program(),
            port: None,
            raw_ip: None,
        },
        attached: BTreeMap::new(),
        refused: BTreeMap::new(),
        forwards: false,
        pending: stripped.clone(),
        lock: UnixDatagram::unbound().unwrap(),
    };
    assert!(filters.follow(false).is_err());
    assert_eq!(filters.pending, stripped);
    assert!(filters.has_news());
}

#[test]
fn only_a_lack_of_room_or_time_is_passing() {
    let passes = |errno| is_passing(&io::Error::from_raw_os_error(errno as i32));
    assert!(passes(Errno::ENOBUFS) && passes(Errno::ENOMEM));
    assert!(!passes(Errno::EOPNOTSUPP) && !passes(Errno::EEXIST));
}

#[test]
fn only_name_and_handle_together_make_a_filter_ours() {
    let ours = |handle, name| listed(&entry(handle, name), EGRESS).map(|one| one.ours);
    assert_eq!(ours(BESIDE, "wb_clone_out"), Some(true));
    assert_eq!(ours(ON_OURS, "wb_clone_in_pt"), Some(true));
    assert_eq!(ours(1, "wb_clone_out"), Some(false));
    assert_eq!(ours(BESIDE, "cil_from_netdev"), Some(false));
    assert_eq!(ours(0, ""), None, "the list of a priority is no filter");
    assert_eq!(listed(&[0; 8], EGRESS), None);
}

#[test]
fn the_priority_is_the_upper_half_of_the_information() {
    assert_eq!(listed(&entry(7, "x"), EGRESS).unwrap().priority, 1);
}
