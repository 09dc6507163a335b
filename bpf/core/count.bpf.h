/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters of everything that can be lost or go wrong, one table for all families. */
#ifndef WB_COUNT_BPF_H
#define WB_COUNT_BPF_H

#include "abi.h"
#include "compat.bpf.h"

/*
 * counters: per CPU, so that counting is one add without contention. User space sums. Never
 * emptied: cumulative since load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WB_COUNT_MAX);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

static __always_inline void count(u32 counter)
{
	u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += 1;
}

#endif /* WB_COUNT_BPF_H */
