// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A map of a type that came after the kernel claimed: libbpf makes it, used or not. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#ifdef TWIN
WB_TABLE(records, BPF_MAP_TYPE_LRU_HASH, u32, u64);
#else
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");
#endif

SEC("tc")
int subject(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_UNSPEC;
}
