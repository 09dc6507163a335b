/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The scope: the cgroup whose sockets are watched, with all below it. */
#ifndef WB_SCOPE_BPF_H
#define WB_SCOPE_BPF_H

#include "abi.h"
#include "compat.bpf.h"
#include "config.bpf.h"

/* True when the number is the one that is looked for, as far as the mask goes. */
static __always_inline bool is_cgroup(u64 id, struct wb_config *cfg)
{
	return (id & cfg->scope_cgroup_mask) == cfg->scope_cgroup_id;
}

/* True when the node is the one that is looked for; else goes up, where there is an up. */
static __always_inline bool found_or_up(struct kernfs_node___pre_5_5 **node, struct wb_config *cfg)
{
	u64 id = 0;

	bpf_core_read(&id, sizeof(id), &(*node)->id);
	if (is_cgroup(id, cfg))
		return 1;
	*node = BPF_CORE_READ(*node, parent);
	return 0;
}

/*
 * Before 5.5 (commit 743210386c03) ancestor_ids[] held numbers that user space never sees, so the
 * way up is walked by the nodes of the file system: eight of them, which is deeper than systemd
 * and container engines nest below a scope. No loop: the verifiers of that time refuse them. A
 * read beyond the top gives 0, which is the number of nothing.
 */
static __always_inline bool old_cgroup_is_below(struct cgroup *cgrp, struct wb_config *cfg)
{
	struct kernfs_node___pre_5_5 *node = (void *)BPF_CORE_READ(cgrp, kn);

	return found_or_up(&node, cfg) || found_or_up(&node, cfg) || found_or_up(&node, cfg) ||
	       found_or_up(&node, cfg) || found_or_up(&node, cfg) || found_or_up(&node, cfg) ||
	       found_or_up(&node, cfg) || found_or_up(&node, cfg);
}

/* True when a cgroup is the scope's, or below it. */
static __always_inline bool cgroup_is_below(struct cgroup *cgrp, struct wb_config *cfg)
{
	if (has_old_kernfs())
		return old_cgroup_is_below(cgrp, cfg);
	return is_cgroup(cgroup_ancestor_id(cgrp, cfg->scope_level), cfg);
}

/* True when the socket belongs to a cgroup below the configured scope. */
static __always_inline bool sock_in_scope(struct sock *sk)
{
	struct wb_config *cfg = configuration();

	if (!cfg)
		return 0;
	if (!cfg->scope_cgroup_id)
		return 1;
	struct cgroup *cgrp = sock_cgroup(sk);

	return cgrp && cgroup_is_below(cgrp, cfg);
}

#endif /* WB_SCOPE_BPF_H */
