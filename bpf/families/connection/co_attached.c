// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Who else has sockops programs: BPF_PROG_QUERY tells it as well, and takes CAP_NET_ADMIN, which
 * the running agent has not. An iterator that was attached before takes nothing to be read.
 */
#include "abi.h"
#include "core/kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Id and name of every sockops program that is loaded, wherever it is attached (5.9). */
SEC("iter/bpf_prog")
int wb_sockops_list(struct bpf_iter__bpf_prog *ctx)
{
	struct bpf_prog *prog = ctx->prog;
	struct wb_co_attached co_attached = {};

	if (!prog || BPF_CORE_READ(prog, type) != BPF_PROG_TYPE_SOCK_OPS)
		return 0;
	co_attached.id = BPF_CORE_READ(prog, aux, id);
	BPF_CORE_READ_INTO(&co_attached.name, prog, aux, name);
	bpf_seq_write(ctx->meta->seq, &co_attached, sizeof(co_attached));
	return 0;
}
