/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The waybill option: 16 bytes, kind | 16 | ExID | token | flags | MAC.
 *
 * kind 253 or 254 with a 16-bit experiment id (RFC 6994 section 2). The length is never 8 or 20:
 * readers of TOA take 254/8 and 253/20 for a client address without looking at an ExID.
 */
#ifndef WB_OPTION_BPF_H
#define WB_OPTION_BPF_H

#include "maps.bpf.h"
#include "siphash.bpf.h"

struct wb_option {
	u8 kind;
	u8 length;
	u8 exid[2]; /* network byte order */
	u8 token[8]; /* network byte order */
	u8 flags;
	u8 mac[3];
};
_Static_assert(sizeof(struct wb_option) == WB_OPTION_LEN, "wb_option");

static __always_inline u64 new_token(void)
{
	u64 token = random_u64();

	return token ? token : 1;
}

/* The MAC covers token, flags and key epoch; the first three bytes of the sum are sent. */
static __always_inline u64 option_mac(struct wb_key *key, struct wb_option *option)
{
	u64 m0;
	u64 m1 = option->flags | ((u64)key->epoch << 8);

	__builtin_memcpy(&m0, option->token, 8);
	return siphash_2_4(key->k0, key->k1, m0, m1);
}

static __always_inline void option_set_mac(struct wb_option *option, u64 mac)
{
	option->mac[0] = mac;
	option->mac[1] = mac >> 8;
	option->mac[2] = mac >> 16;
}

static __always_inline bool option_mac_matches(struct wb_option *option, u64 mac)
{
	return option->mac[0] == (u8)mac && option->mac[1] == (u8)(mac >> 8) &&
	       option->mac[2] == (u8)(mac >> 16);
}

/* Builds a complete option. False when there is no key to sign it with. */
static __always_inline bool option_build(struct wb_option *option, struct wb_connection_config *cfg,
					 u64 token, u8 flags)
{
	u32 slot = cfg->write_epoch & WB_OPTION_EPOCH_MASK;
	struct wb_key *key = bpf_map_lookup_elem(&keys, &slot);
	u64 token_be = __builtin_bswap64(token);

	if (!key || !key->valid || key->epoch != cfg->write_epoch)
		return 0;
	option->kind = cfg->option_kind;
	option->length = WB_OPTION_LEN;
#ifdef WB_FAULT_OPTION_LENGTH
	option->length = WB_OPTION_LEN - 4;
#endif
	option->exid[0] = cfg->option_exid >> 8;
	option->exid[1] = cfg->option_exid;
	__builtin_memcpy(option->token, &token_be, 8);
	option->flags = (WB_OPTION_VERSION << WB_OPTION_VERSION_SHIFT) |
			(slot << WB_OPTION_EPOCH_SHIFT) | flags;
	option_set_mac(option, option_mac(key, option));
	return 1;
}

/* The token of a received option, or 0; every refusal is counted. */
static __always_inline u64 option_verify(struct wb_option *option)
{
	u32 slot = (option->flags >> WB_OPTION_EPOCH_SHIFT) & WB_OPTION_EPOCH_MASK;
	struct wb_key *key = bpf_map_lookup_elem(&keys, &slot);
	u64 token_be;

	if (option->flags >> WB_OPTION_VERSION_SHIFT != WB_OPTION_VERSION) {
		count(WB_COUNT_OPTION_MALFORMED);
		return 0;
	}
	if (!key || !key->valid) {
		count(WB_COUNT_OPTION_UNKNOWN_EPOCH);
		return 0;
	}
	if (!option_mac_matches(option, option_mac(key, option))) {
		count(WB_COUNT_OPTION_BAD_MAC);
		return 0;
	}
	__builtin_memcpy(&token_be, option->token, 8);
	/* Signed, but 0 is "none" wherever a token is kept. */
	if (!token_be)
		count(WB_COUNT_OPTION_MALFORMED);
	return __builtin_bswap64(token_be);
}

#endif /* WB_OPTION_BPF_H */
