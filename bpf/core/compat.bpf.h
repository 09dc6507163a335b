/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every difference between kernels, one helper each, citing the change. Never by version. */
#ifndef WB_COMPAT_BPF_H
#define WB_COMPAT_BPF_H

#include "abi.h"
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct task_struct___pre_5_5 {
	u64 real_start_time;
} __attribute__((preserve_access_index));

/* real_start_time became start_boottime in 5.5 (commit cf25e24db61c). */
static __always_inline u64 task_start_boottime(struct task_struct *task)
{
	if (bpf_core_field_exists(task->start_boottime))
		return BPF_CORE_READ(task, start_boottime);
	struct task_struct___pre_5_5 *old = (void *)task;
	return BPF_CORE_READ(old, real_start_time);
}

struct sock_cgroup_data___pre_5_15 {
	u64 val;
} __attribute__((preserve_access_index));

/*
 * Before 5.15 (commit 8520e224f547) the pointer shared a word with cgroup v1 data: bit 0 set
 * means that the word is no pointer, bit 1 (no_refcnt) must be masked.
 */
static __always_inline struct cgroup *sock_cgroup(struct sock *sk)
{
	if (bpf_core_field_exists(struct sock_cgroup_data, cgroup))
		return BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	struct sock_cgroup_data___pre_5_15 *data = (void *)&sk->sk_cgrp_data;

	/* Empty without CONFIG_SOCK_CGROUP_DATA, which programs on cgroups bring along. */
	if (!bpf_core_field_exists(data->val))
		return NULL;
	u64 val = BPF_CORE_READ(data, val);
	return val & 1 ? NULL : (struct cgroup *)(val & ~3ULL);
}

/*
 * True where the cgroup of a socket never changes. Before 5.15 net_cls and net_prio of cgroup v1 may
 * put their data in its place at any time (sock_cgroup_set_classid()).
 */
static __always_inline bool stays_in_cgroup(void)
{
	return bpf_core_field_exists(struct sock_cgroup_data, cgroup);
}

union kernfs_node_id {
	u64 id;
} __attribute__((preserve_access_index));

struct kernfs_node___pre_5_5 {
	union kernfs_node_id id;
	struct kernfs_node___pre_5_5 *parent;
} __attribute__((preserve_access_index));

/*
 * True where the number of a kernfs node was a union (before 5.5, commit 67c0496e87d1), and ids of
 * cgroups were others still. Asked for what these kernels lack: verifiers before 4.20 know which
 * way a question goes only where its answer is the 0 that it is compared with.
 */
static __always_inline bool has_old_kernfs(void)
{
	return !bpf_core_field_exists(((struct kernfs_node *)0)->id);
}

/*
 * The number of a cgroup's directory as its file handle has it: inode and generation, which are one
 * since 5.5 where inode numbers have 64 bits (commit 40430452fd5d). Kernels with the one change and
 * without the other (4.18 of RHEL 8) have both halves in it and show the lower one as the inode.
 */
static __always_inline u64 cgroup_id(struct cgroup *cgrp)
{
	if (has_old_kernfs()) {
		struct kernfs_node___pre_5_5 *old = (void *)BPF_CORE_READ(cgrp, kn);
		u64 id = 0;

		/* As a whole: packs made for older programs know the union and not its members. */
		bpf_core_read(&id, sizeof(id), &old->id);
		return id;
	}
	return BPF_CORE_READ(cgrp, kn, id);
}

struct cgroup___pre_6_1 {
	u64 ancestor_ids[0];
} __attribute__((preserve_access_index));

/* ancestor_ids[] became ancestors[] in 6.1 (commit 7f203bc89eb6). */
static __always_inline u64 cgroup_ancestor_id(struct cgroup *cgrp, u32 level)
{
	u64 id = 0;

	if (BPF_CORE_READ(cgrp, level) < (int)level)
		return 0;
	if (bpf_core_field_exists(cgrp->ancestors)) {
		struct cgroup *ancestor = NULL;
		void *list = (void *)cgrp + bpf_core_field_offset(struct cgroup, ancestors);

		bpf_probe_read_kernel(&ancestor, sizeof(ancestor), list + level * sizeof(ancestor));
		return BPF_CORE_READ(ancestor, kn, id);
	}
	void *list = (void *)cgrp + bpf_core_field_offset(struct cgroup___pre_6_1, ancestor_ids);

	bpf_probe_read_kernel(&id, sizeof(id), list + level * sizeof(id));
	return id;
}

/* The inode number of a socket's network namespace; 0 where the kernel has but one. */
static __always_inline u32 sock_netns(struct sock *sk)
{
	if (!bpf_core_field_exists(sk->__sk_common.skc_net.net))
		return 0;
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

struct sock___pre_5_6 {
	unsigned int sk_protocol : 8;
} __attribute__((preserve_access_index));

/* sk_protocol was an 8-bit bit-field before 5.6 (commit bf9765145b85). */
static __always_inline u32 sock_protocol(struct sock *sk)
{
	if (bpf_core_field_size(sk->sk_protocol) == 2)
		return BPF_CORE_READ(sk, sk_protocol);
	struct sock___pre_5_6 *old = (void *)sk;
	return BPF_CORE_READ_BITFIELD_PROBED(old, sk_protocol);
}

#endif /* WB_COMPAT_BPF_H */
