/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every program is told; what only one family is told is in a table of its own. */
#ifndef WB_CONFIG_BPF_H
#define WB_CONFIG_BPF_H

#include "abi.h"
#include "compat.bpf.h"

/* config: one entry, written by the agent before it attaches anything, and when the scope moves. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct wb_config);
} config SEC(".maps");

static __always_inline struct wb_config *configuration(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

#endif /* WB_CONFIG_BPF_H */
