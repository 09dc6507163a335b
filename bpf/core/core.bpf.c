// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The tables that the objects of all families share: loaded first, and lent to each of them. No
 * programs, so no verifier can refuse it.
 */
#include "config.bpf.h"
#include "count.bpf.h"
#include "emit.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
