// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A field that old kernels lack, where they never go and their verifiers look all the same: before
 * 4.20 those know which way a question goes only where its answer is the 0 it is compared with.
 */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

union kernfs_node_id {
	struct {
		u32 ino;
		u32 generation;
	};
} __attribute__((preserve_access_index));

struct kernfs_node___old {
	union kernfs_node_id id;
} __attribute__((preserve_access_index));

static __always_inline u32 is_old(struct kernfs_node *node)
{
#ifdef TWIN
	return !field_exists(node->id);
#else
	(void)node;
	return field_exists(((struct kernfs_node___old *)0)->id.ino);
#endif
}

SEC("kprobe/tcp_connect")
int subject(void *ctx)
{
	struct kernfs_node *node = (void *)bpf_get_current_task();
	struct kernfs_node___old *old = (void *)node;

	(void)ctx;
	if (is_old(node)) {
		u32 inode = 0;

		bpf_probe_read(&inode, sizeof(inode), &old->id.ino);
		return inode == 1;
	}
	u64 id = 0;

	bpf_probe_read(&id, sizeof(id), &node->id);
	return id == 1;
}
