// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Something to iterate over that came after the iterators. */
#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#ifdef TWIN
SEC("iter/task_file")
#else
SEC("iter/bpf_map_elem")
#endif
int subject(void *ctx)
{
	(void)ctx;
	return 0;
}
