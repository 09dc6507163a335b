/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SipHash-2-4 of exactly 16 bytes (Aumasson and Bernstein, 2012), unrolled: no loop, no call. */
#ifndef WB_SIPHASH_BPF_H
#define WB_SIPHASH_BPF_H

#include "core/kernel.h"

#define WB_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define WB_SIPROUND                                                                                \
	do {                                                                                       \
		v0 += v1;                                                                          \
		v1 = WB_ROTL(v1, 13);                                                              \
		v1 ^= v0;                                                                          \
		v0 = WB_ROTL(v0, 32);                                                              \
		v2 += v3;                                                                          \
		v3 = WB_ROTL(v3, 16);                                                              \
		v3 ^= v2;                                                                          \
		v0 += v3;                                                                          \
		v3 = WB_ROTL(v3, 21);                                                              \
		v3 ^= v0;                                                                          \
		v2 += v1;                                                                          \
		v1 = WB_ROTL(v1, 17);                                                              \
		v1 ^= v2;                                                                          \
		v2 = WB_ROTL(v2, 32);                                                              \
	} while (0)

static __always_inline u64 siphash_2_4(u64 k0, u64 k1, u64 m0, u64 m1)
{
	u64 v0 = 0x736f6d6570736575ULL ^ k0;
	u64 v1 = 0x646f72616e646f6dULL ^ k1;
	u64 v2 = 0x6c7967656e657261ULL ^ k0;
	u64 v3 = 0x7465646279746573ULL ^ k1;
	u64 length = 16ULL << 56;

	v3 ^= m0;
	WB_SIPROUND;
	WB_SIPROUND;
	v0 ^= m0;
	v3 ^= m1;
	WB_SIPROUND;
	WB_SIPROUND;
	v0 ^= m1;
	v3 ^= length;
	WB_SIPROUND;
	WB_SIPROUND;
	v0 ^= length;
	v2 ^= 0xff;
	WB_SIPROUND;
	WB_SIPROUND;
	WB_SIPROUND;
	WB_SIPROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

#endif /* WB_SIPHASH_BPF_H */
