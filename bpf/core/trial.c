// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs that do nothing, each to find out whether one like it can be attached at all. */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int wb_trial_filter(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_UNSPEC;
}

SEC("sockops")
int wb_trial_sockops(struct bpf_sock_ops *ctx)
{
	(void)ctx;
	return 0;
}

SEC("raw_tp/inet_sock_set_state")
int wb_trial_state(struct bpf_raw_tracepoint_args *ctx)
{
	(void)ctx;
	return 0;
}

SEC("raw_tp/tcp_rcv_space_adjust")
int wb_trial_reader(struct bpf_raw_tracepoint_args *ctx)
{
	(void)ctx;
	return 0;
}

SEC("kprobe/security_sock_graft")
int wb_trial_accept(void *ctx)
{
	(void)ctx;
	return 0;
}

/* Some kernels have the iterators and refuse these alone (seen: 6.18 of a cloud, EPERM). */
SEC("iter/bpf_map_elem")
int wb_trial_elements(struct bpf_iter__bpf_map_elem *ctx)
{
	(void)ctx;
	return 0;
}

SEC("iter/task_file")
int wb_trial_files(struct bpf_iter__task_file *ctx)
{
	(void)ctx;
	return 0;
}
