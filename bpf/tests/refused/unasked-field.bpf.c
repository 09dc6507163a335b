// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A field that came after the kernel claimed, and nobody asks for it. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("kprobe/tcp_connect")
int subject(void *ctx)
{
	struct tcp_sock *tp = (void *)bpf_get_current_task();
	u32 count = 0;

	(void)ctx;
#ifdef TWIN
	if (!field_exists(tp->rcv_ooopack))
		return 0;
#endif
	bpf_probe_read(&count, sizeof(count), &tp->rcv_ooopack);
	return count == 1;
}
