/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the objects of this folder share. Each shows one shape that some kernels refuse; compiled
 * with -DTWIN it does the same in a way that they take.
 */
#ifndef WB_TESTS_FLOOR_H
#define WB_TESTS_FLOOR_H

#include "core/kernel.h"

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __ksym __attribute__((section(".ksyms")))

#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

/* Helpers by their numbers in include/uapi/linux/bpf.h. */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
					 u64 flags) = (void *)2;
static long (*const bpf_probe_read)(void *to, u32 size, const void *from) = (void *)4;
static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static long (*const bpf_perf_event_output)(void *ctx, void *map, u64 flags, void *data,
					   u64 size) = (void *)25;
static long (*const bpf_skb_load_bytes)(const void *skb, u32 offset, void *to,
					u32 size) = (void *)26;
static u64 (*const bpf_get_current_task)(void) = (void *)35;
static u64 (*const bpf_ktime_get_boot_ns)(void) = (void *)125;

/* BPF_FIELD_EXISTS of libbpf's bpf_core_read.h. */
#define field_exists(field) __builtin_preserve_field_info(field, 2)

struct wb_pair {
	u32 seq;
	u32 ack;
	u64 sock;
};

/* A value of 64 bytes, to be indexed. */
struct wb_row {
	u8 slot[64];
};

#define WB_TABLE(name, kind, key_type, value_type)                                                 \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__uint(max_entries, 1);                                                            \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

#endif /* WB_TESTS_FLOOR_H */
