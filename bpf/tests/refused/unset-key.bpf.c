// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A key with a field that nobody set. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

WB_TABLE(pairs, BPF_MAP_TYPE_HASH, struct wb_pair, u64);

SEC("tc")
int subject(struct __sk_buff *skb)
{
	struct wb_pair key;

#ifdef TWIN
	__builtin_memset(&key, 0, sizeof(key));
#endif
	key.seq = skb->hash;
	key.ack = skb->mark;
	return bpf_map_lookup_elem(&pairs, &key) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
