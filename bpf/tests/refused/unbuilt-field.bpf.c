// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A field that any kernel may be built without, and nobody asks for it. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("kprobe/tcp_connect")
int subject(void *ctx)
{
	struct sock *sk = (void *)bpf_get_current_task();
	u32 address = 0;

	(void)ctx;
#ifdef TWIN
	if (!field_exists(sk->__sk_common.skc_v6_daddr))
		return 0;
#endif
	bpf_probe_read(&address, sizeof(address), &sk->__sk_common.skc_v6_daddr);
	return address == 1;
}
