// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An atomic operation other than a plain addition. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

WB_TABLE(counters, BPF_MAP_TYPE_ARRAY, u32, u64);

SEC("tc")
int subject(struct __sk_buff *skb)
{
	u32 zero = 0;
	u64 *counter = bpf_map_lookup_elem(&counters, &zero);

	(void)skb;
	if (!counter)
		return TC_ACT_UNSPEC;
#ifdef TWIN
	__sync_fetch_and_add(counter, 1);
#else
	/* 0xdb: BPF_STX | BPF_ATOMIC | BPF_DW, registers 1 and 2, BPF_OR. */
	asm volatile("r1 = %0; r2 = 1; .8byte 0x00000040000021db" : : "r"(counter) : "r1", "r2");
#endif
	return TC_ACT_UNSPEC;
}
