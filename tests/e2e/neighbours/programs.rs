//! Programs of others, made when they are needed: packet filters and sockops.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use tests::lab::host::Host;
use tests::lab::site::Site;
use tests::lab::{Lab, command};

pub(crate) const SOCKOPS: &str = "sockops";

/// Filters as another tool might have them. The mark is the third word of a filter's context; ours
/// sets it to a number of its own on copies.
const FILTERS: &str = r#"
#define SEC(name) __attribute__((section(name), used))
typedef unsigned char u8;
SEC("pass") int neighbour_pass(void *ctx) { return 0; }
/* What has no mark yet gets one and is sent again, by the device it is on. */
static int (*redirect)(unsigned int, unsigned long long) = (void *)23;
SEC("bounce") int neighbour_bounce(unsigned int *ctx)
{
	if (ctx[2])
		return -1;
	*(volatile unsigned int *)(ctx + 2) = 1;
	return redirect(ctx[10], 0);
}
SEC("take") int neighbour_take(unsigned int *ctx) { return ctx[2] >> 16 == 0x5742 ? 2 : -1; }
/* IPv4 without options of its own, and the waybill behind the time stamps, where the kernel puts
 * it, or first. */
static int (*load)(void *, unsigned int, void *, unsigned int) = (void *)26;
SEC("drop") int neighbour_drop(void *ctx)
{
	u8 ip[20], tcp[20 + 13]; /* the fourteenth of them holds SYN */

	if (load(ctx, 14, ip, sizeof(ip)) || ip[0] != 0x45 || ip[9] != 6)
		return -1;
	if (load(ctx, 34, tcp, sizeof(tcp)) || tcp[12] >> 4 < 9 || tcp[13] & 2)
		return -1;
	return tcp[20] == 253 || tcp[32] == 253 ? 2 : -1;
}
char LICENSE[] SEC("license") = "GPL";
"#;

/// Attaches one of them: `egress protocol all pref 7 handle 7`, and its section.
pub(crate) fn filter(lab: &Lab, host: &Host, place: &str, section: &str) -> Result<()> {
    let object = compile(lab, "filters", FILTERS)?;
    let tc = |arguments: &str| {
        let mut tc = host.command_beside("tc");
        command::run(tc.args(arguments.split(' '))).map(drop)
    };
    // There already for a second filter.
    tc("qdisc add dev eth0 clsact").ok();
    let object = object.display();
    tc(&format!(
        "filter add dev eth0 {place} bpf da obj {object} sec {section}"
    ))
}

fn compile(lab: &Lab, name: &str, source: &str) -> Result<PathBuf> {
    let file = lab.directory().join(name).with_extension("c");
    let object = file.with_extension("o");
    std::fs::write(&file, source)?;
    let mut clang = Command::new("clang-19");
    clang.args(["-O2", "-g", "-target", "bpf", "-c"]).arg(&file);
    command::run(clang.arg("-o").arg(&object))?;
    Ok(object)
}

/// The part that all sockops programs of others begin with.
const SOCKOPS_HEAD: &str = r#"
#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
struct bpf_sock_ops {
	u32 op, args[4], family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4];
	u32 remote_port, local_port, is_fullsock, snd_cwnd, srtt_us, bpf_sock_ops_cb_flags;
};
static int (*set_flags)(struct bpf_sock_ops *, int) = (void *)59;
static int (*store)(struct bpf_sock_ops *, const void *, u32, u32) = (void *)143;
static int (*reserve)(struct bpf_sock_ops *, u32, u32) = (void *)144;
enum { CONNECT = 3, ACTIVE = 4, PASSIVE = 5, LENGTH = 14, WRITE = 15, WRITE_FLAG = 64 };
char LICENSE[] SEC("license") = "GPL";
"#;

/// Writes `SIZE` bytes of its own on every segment.
pub(crate) const WRITER: &str = r#"
SEC("sockops") int neighbour(struct bpf_sock_ops *ctx)
{
	unsigned char option[SIZE] = { 254, SIZE, 0x12, 0x34 };

	if (ctx->op == CONNECT || ctx->op == ACTIVE || ctx->op == PASSIVE)
		set_flags(ctx, ctx->bpf_sock_ops_cb_flags | WRITE_FLAG);
	else if (ctx->op == LENGTH)
		reserve(ctx, SIZE, 0);
	else if (ctx->op == WRITE)
		store(ctx, option, SIZE, 0);
	return 1;
}
"#;

/// Clears what others asked for, whenever it is called.
pub(crate) const FORGETTER: &str = r#"
SEC("sockops") int neighbour(struct bpf_sock_ops *ctx)
{
	set_flags(ctx, 0);
	return 1;
}
"#;

/// Attaches a sockops program to the cgroup of a host, behind those that are there; it goes with
/// the cgroup.
fn sockops(lab: &Lab, host: &Host, source: &str) -> Result<()> {
    let object = compile(lab, "sockops", &format!("{SOCKOPS_HEAD}{source}"))?;
    // bpftool can keep a program only by a name in a BPF file system: one of the lab's own.
    let files = lab.directory().join(format!("bpffs-{}", host.name()));
    std::fs::create_dir(&files)?;
    let none = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("bpf"), &files, Some("bpf"), none, None::<&str>)?;
    let attached = || -> Result<()> {
        let pin = files.join("neighbour");
        let mut load = Command::new("bpftool");
        load.args(["prog", "load"]).arg(&object).arg(&pin);
        command::run(load.args(["type", "sockops"]))?;
        let mut attach = Command::new("bpftool");
        attach.args(["cgroup", "attach"]).arg(host.cgroup());
        attach.args(["sock_ops", "pinned"]).arg(&pin).arg("multi");
        command::run(&mut attach).map(drop)
    }();
    nix::mount::umount2(&files, nix::mount::MntFlags::MNT_DETACH)?;
    attached
}

pub(crate) fn on_both(lab: &Lab, site: &Site, source: &str) -> Result<()> {
    sockops(lab, &site.clients[0], source)?;
    sockops(lab, &site.backends[0], source)
}
