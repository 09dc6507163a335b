// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A type of programs that came after the kernel claimed. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#ifdef TWIN
SEC("kprobe/tcp_set_state")
#else
SEC("raw_tp/inet_sock_set_state")
#endif
int subject(void *ctx)
{
	(void)ctx;
	return 0;
}
