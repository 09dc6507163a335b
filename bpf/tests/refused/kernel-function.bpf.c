// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A call into the kernel by BTF. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#ifndef TWIN
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
#endif

SEC("tc")
int subject(struct __sk_buff *skb)
{
#ifdef TWIN
	return bpf_get_prandom_u32() == skb->mark ? TC_ACT_SHOT : TC_ACT_UNSPEC;
#else
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	return skb->mark ? TC_ACT_SHOT : TC_ACT_UNSPEC;
#endif
}
