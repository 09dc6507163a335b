//! What the kernel's BPF can do: each answer comes from trying it.

mod co_attached;

use std::os::fd::AsFd as _;

use libbpf_rs::btf::types::{Func, Typedef};
use libbpf_rs::btf::{Btf, BtfType};
use libbpf_rs::{
    MapHandle, MapType, Object, PerfBufferBuilder, ProgramMut, ProgramType, libbpf_sys,
};

use super::{Fact, probe};
pub use co_attached::CoAttached;
pub(super) use co_attached::co_attached;

/// Numbers of the helpers in `linux/bpf.h`: load, store and reserve a TCP option.
const HEADER_OPTION_HELPERS: [(u32, &str); 3] = [
    (libbpf_sys::BPF_FUNC_load_hdr_opt, "bpf_load_hdr_opt"),
    (libbpf_sys::BPF_FUNC_store_hdr_opt, "bpf_store_hdr_opt"),
    (libbpf_sys::BPF_FUNC_reserve_hdr_opt, "bpf_reserve_hdr_opt"),
];

/// Numbers of the helpers that copy a packet and change the copy.
const FILTER_HELPERS: [(u32, &str); 8] = [
    (libbpf_sys::BPF_FUNC_clone_redirect, "bpf_clone_redirect"),
    (libbpf_sys::BPF_FUNC_skb_change_tail, "bpf_skb_change_tail"),
    (libbpf_sys::BPF_FUNC_skb_load_bytes, "bpf_skb_load_bytes"),
    (libbpf_sys::BPF_FUNC_skb_store_bytes, "bpf_skb_store_bytes"),
    (libbpf_sys::BPF_FUNC_l3_csum_replace, "bpf_l3_csum_replace"),
    (libbpf_sys::BPF_FUNC_l4_csum_replace, "bpf_l4_csum_replace"),
    (libbpf_sys::BPF_FUNC_csum_diff, "bpf_csum_diff"),
    (libbpf_sys::BPF_FUNC_ktime_get_ns, "bpf_ktime_get_ns"),
];

/// A map with one entry: the smallest thing bpf(2) can make.
pub(super) fn small_map() -> libbpf_rs::Result<MapHandle> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    MapHandle::create(MapType::Array, Some("wb_trial"), 4, 4, 1, &options)
}

/// Whether bpf(2) is there and allowed.
pub(super) fn allowed() -> Fact {
    match small_map() {
        Ok(_) => Fact::Yes,
        Err(error) if error.kind() == libbpf_rs::ErrorKind::PermissionDenied => Fact::unknown(
            "not permitted: run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
        ),
        Err(error) => Fact::no(format!("creating a map fails: {error:#}")),
    }
}

/// The kernel's own type information.
pub(super) fn kernel_types() -> Result<Btf<'static>, Fact> {
    Btf::from_vmlinux()
        .map_err(|error| Fact::no(format!("no /sys/kernel/btf/vmlinux to be read: {error:#}")))
}

/// Asks only where the answer can be told from "not permitted".
fn ask(bpf: &Fact, what: &str, supported: impl FnOnce() -> libbpf_rs::Result<bool>) -> Fact {
    if let Fact::No { why } | Fact::Unknown { why } = bpf {
        return Fact::unknown(format!("bpf(2) cannot be used: {why}"));
    }
    match supported() {
        Ok(there) => Fact::when(there, format!("the kernel refuses {what}")),
        Err(error) => Fact::unknown(format!("asking for {what} fails: {error:#}")),
    }
}

pub(super) fn raw_tracepoint(bpf: &Fact) -> Fact {
    ask(bpf, "a raw tracepoint program", || {
        ProgramType::RawTracepoint.is_supported()
    })
}

/// Probes at kernel functions.
pub(super) fn kprobe(bpf: &Fact) -> Fact {
    ask(bpf, "a program on a probe", || {
        ProgramType::Kprobe.is_supported()
    })
}

/// Whether tracing programs may read kernel memory: `lockdown=confidentiality` takes the helpers
/// away (security_locked_down(LOCKDOWN_BPF_READ_KERNEL), 5.5), and so does nothing else.
pub(super) fn kernel_memory(bpf: &Fact) -> Fact {
    let raw_tracepoint = raw_tracepoint(bpf);
    let kind = match raw_tracepoint.is_yes() {
        true => ProgramType::RawTracepoint,
        false if kprobe(bpf).is_yes() => ProgramType::Kprobe,
        false => return raw_tracepoint,
    };
    let helper = |number| {
        ask(bpf, "programs that read its memory", || {
            kind.is_helper_supported(number)
        })
    };
    // Before 5.5 there is only the older one, for kernel and user memory alike.
    let newer = helper(libbpf_sys::BPF_FUNC_probe_read_kernel);
    if newer.is_yes() {
        return newer;
    }
    let older = helper(libbpf_sys::BPF_FUNC_probe_read);
    if older.is_yes() { older } else { newer }
}

pub(super) fn sockops(bpf: &Fact) -> Fact {
    ask(bpf, "a sockops program", || {
        ProgramType::SockOps.is_supported()
    })
}

pub(super) fn header_options(bpf: &Fact) -> Fact {
    // A kernel that refuses the type for want of privilege would seem to know every helper.
    let sockops = sockops(bpf);
    if !sockops.is_yes() {
        return sockops;
    }
    for (helper, name) in HEADER_OPTION_HELPERS {
        let has = ask(bpf, name, || {
            ProgramType::SockOps.is_helper_supported(helper)
        });
        if !has.is_yes() {
            return has;
        }
    }
    Fact::Yes
}

/// Whether packet filters can copy a packet and change the copy.
pub(super) fn packet_filters(bpf: &Fact) -> Fact {
    let filter = ask(bpf, "a packet filter program", || {
        ProgramType::SchedCls.is_supported()
    });
    if !filter.is_yes() {
        return filter;
    }
    for (helper, name) in FILTER_HELPERS {
        let has = ask(bpf, name, || {
            ProgramType::SchedCls.is_helper_supported(helper)
        });
        if !has.is_yes() {
            return has;
        }
    }
    Fact::Yes
}

/// A packet filter that does nothing.
pub(super) fn trial_filter() -> libbpf_rs::Result<(Object, std::os::fd::OwnedFd)> {
    const NAME: &str = "wb_trial_filter";
    let object = trial(NAME)?;
    let program = object
        .progs()
        .find(|program| program.name() == NAME)
        .map(|program| program.as_fd().try_clone_to_owned());
    match program {
        Some(descriptor) => Ok((object, descriptor?)),
        None => Err(std::io::Error::from(std::io::ErrorKind::NotFound).into()),
    }
}

/// One program that does nothing, loaded.
fn trial(name: &str) -> libbpf_rs::Result<Object> {
    let mut object = libbpf_rs::ObjectBuilder::default()
        .name("wb_trial")?
        .open_memory(::bpf::TRIAL)?;
    for mut program in object.progs_mut() {
        let wanted = program.name() == name;
        program.set_autoload(wanted);
    }
    object.load()
}

pub(super) fn lru_hash(bpf: &Fact) -> Fact {
    ask(bpf, "an LRU hash map", || MapType::LruHash.is_supported())
}

pub(super) fn lpm_trie(bpf: &Fact) -> Fact {
    ask(bpf, "a longest-prefix map", || {
        MapType::LpmTrie.is_supported()
    })
}

pub(super) fn ring_buffer(bpf: &Fact) -> Fact {
    ask(bpf, "a ring buffer", || MapType::RingBuf.is_supported())
}

pub(super) fn perf_event_array(bpf: &Fact) -> Fact {
    ask(bpf, "a perf event array", || {
        MapType::PerfEventArray.is_supported()
    })
}

/// Whether perf events can be opened, tried with the smallest perf buffer that there is: needs
/// `CAP_PERFMON` or the like, and some hosts refuse perf_event_open(2) altogether.
pub(super) fn perf_events(bpf: &Fact) -> Fact {
    let array = perf_event_array(bpf);
    if !array.is_yes() {
        return array;
    }
    let opened = events_map().and_then(|map| PerfBufferBuilder::new(&map).pages(1).build());
    match opened {
        Ok(_) => Fact::Yes,
        Err(error) => Fact::no(format!("opening one fails: {error:#}")),
    }
}

fn events_map() -> libbpf_rs::Result<MapHandle> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    let cpus = u32::try_from(libbpf_rs::num_possible_cpus()?).unwrap_or(1);
    MapHandle::create(
        MapType::PerfEventArray,
        Some("wb_trial"),
        4,
        4,
        cpus,
        &options,
    )
}

/// Whether the tracepoint for changes of a socket's state exists.
pub(super) fn state_tracepoint(btf: &Result<Btf<'static>, Fact>, raw_tracepoint: &Fact) -> Fact {
    const NAME: &str = "inet_sock_set_state";
    tracepoint(btf, raw_tracepoint, NAME, "wb_trial_state")
}

/// Whether the tracepoint that runs in the context of who reads from a TCP socket exists.
pub(super) fn reader_tracepoint(btf: &Result<Btf<'static>, Fact>, raw_tracepoint: &Fact) -> Fact {
    const NAME: &str = "tcp_rcv_space_adjust";
    tracepoint(btf, raw_tracepoint, NAME, "wb_trial_reader")
}

/// Whether a probe can hang on what accept(2) calls for an accepted socket.
pub(super) fn accept_probe(bpf: &Fact) -> Fact {
    if let Fact::No { why } | Fact::Unknown { why } = bpf {
        return Fact::unknown(format!("bpf(2) cannot be used: {why}"));
    }
    const NAME: &str = "wb_trial_accept";
    let attach = || -> anyhow::Result<_> {
        let object = trial(NAME)?;
        probe::attach(&program_of(&object, NAME)?)
    };
    match attach() {
        Ok(_) => Fact::Yes,
        Err(error) => Fact::no(format!("accept() cannot be probed: {error:#}")),
    }
}

fn program_of<'o>(object: &'o Object, name: &str) -> libbpf_rs::Result<ProgramMut<'o>> {
    let found = object.progs_mut().find(|program| program.name() == name);
    found.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound).into())
}

/// Whether a tracepoint exists. Most kernels have a type `btf_trace_<name>` for each; some have
/// types and none of these (5.4), so where it is missing the `trial`
/// program is attached, or not.
fn tracepoint(
    btf: &Result<Btf<'static>, Fact>,
    raw_tracepoint: &Fact,
    name: &str,
    trial_program: &str,
) -> Fact {
    let typed = has_type::<Typedef<'_>>(btf, &format!("btf_trace_{name}"), "no tracepoint", name);
    tried(typed, raw_tracepoint, || {
        trial(trial_program)
            .and_then(|object| program_of(&object, trial_program)?.attach().map(drop))
            .map_err(|error| format!("nothing can be attached to {name}: {error:#}"))
    })
}

/// What types say, or where they do not say yes, what an attachment says.
fn tried(typed: Fact, raw_tracepoint: &Fact, attach: impl FnOnce() -> Result<(), String>) -> Fact {
    if typed.is_yes() || !raw_tracepoint.is_yes() {
        return typed;
    }
    attach().map_or_else(Fact::no, |()| Fact::Yes)
}

/// Whether a program can go over the elements of maps.
pub(super) fn map_iterator(btf: &Result<Btf<'static>, Fact>, bpf: &Fact) -> Fact {
    iterator((btf, bpf), "bpf_map_elem", "wb_trial_elements")
}

/// Whether a program can go over the files of processes.
pub(super) fn file_iterator(btf: &Result<Btf<'static>, Fact>, bpf: &Fact) -> Fact {
    iterator((btf, bpf), "task_file", "wb_trial_files")
}

/// Whether an iterator over `target` exists, and is not refused: the kernel has a function
/// `bpf_iter_<target>` for each, and some kernels with that refuse the programs. Asking for the
/// program type instead would be wrong: that trial attaches to a function, which some kernels refuse
/// although their iterators work.
fn iterator(
    (btf, bpf): (&Result<Btf<'static>, Fact>, &Fact),
    target: &str,
    trial_program: &str,
) -> Fact {
    let function = format!("bpf_iter_{target}");
    let typed = has_type::<Func<'_>>(btf, &function, "no iterator over", target);
    // Who may load nothing learns what the kernel has.
    if !typed.is_yes() || !bpf.is_yes() {
        return typed;
    }
    match trial(trial_program) {
        Ok(_) => Fact::Yes,
        Err(error) => Fact::no(format!(
            "the kernel refuses iterators over {target}: {error:#}"
        )),
    }
}

fn has_type<'b, K>(btf: &'b Result<Btf<'static>, Fact>, name: &str, no: &str, what: &str) -> Fact
where
    K: TryFrom<BtfType<'b>>,
{
    match btf {
        Ok(btf) => Fact::when(
            btf.type_by_name::<K>(name).is_some(),
            format!("the kernel has {no} {what}"),
        ),
        Err(why) => Fact::unknown(why.why()),
    }
}

/// Whether programs can be attached to cgroups, asked with a program and no cgroup: a kernel without
/// programs on cgroups loads sock_ops programs all the same, and does not even look for the cgroup.
pub(super) fn cgroup_programs(bpf: &Fact) -> Fact {
    const NAME: &str = "wb_trial_sockops";
    let sockops = sockops(bpf);
    if !sockops.is_yes() {
        return Fact::unknown(format!("there is nothing to attach: {}", sockops.why()));
    }
    let refused = || -> anyhow::Result<_> {
        let object = trial(NAME)?;
        Ok(bpf::query::refuses_no_cgroup(
            program_of(&object, NAME)?.as_fd(),
        ))
    };
    match refused() {
        Ok(error) => attaches(&error),
        Err(error) => Fact::unknown(format!("there is nothing to attach: {error:#}")),
    }
}

/// What the answer to an attachment without a cgroup tells.
fn attaches(error: &std::io::Error) -> Fact {
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::EBADF) => Fact::Yes,
        Some(nix::errno::Errno::EINVAL) => {
            Fact::no("the kernel was built without programs on cgroups (CONFIG_CGROUP_BPF)")
        }
        _ => Fact::unknown(format!("programs on cgroups cannot be tried: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{attaches, tried};
    use crate::host::Fact;
    use nix::errno::Errno;

    #[test]
    fn a_tracepoint_that_types_do_not_name_is_tried() {
        let unnamed = || Fact::no("the kernel has no tracepoint x");
        assert_eq!(tried(unnamed(), &Fact::Yes, || Ok(())), Fact::Yes);
        let refused = tried(unnamed(), &Fact::Yes, || Err("refused".into()));
        assert_eq!(refused, Fact::no("refused"));
        let untyped = tried(Fact::unknown("no types"), &Fact::Yes, || Ok(()));
        assert_eq!(untyped, Fact::Yes);
        // What types name is there, and without such programs there is nothing to try.
        let never = || -> Result<(), String> { unreachable!("tried all the same") };
        assert_eq!(tried(Fact::Yes, &Fact::Yes, never), Fact::Yes);
        assert_eq!(tried(unnamed(), &Fact::no("none"), never), unnamed());
    }

    #[test]
    fn a_kernel_that_looks_for_the_cgroup_has_programs_on_cgroups() {
        assert_eq!(attaches(&Errno::EBADF.into()), Fact::Yes);
        assert!(matches!(attaches(&Errno::EINVAL.into()), Fact::No { .. }));
        assert!(matches!(
            attaches(&Errno::EPERM.into()),
            Fact::Unknown { .. }
        ));
    }
}
