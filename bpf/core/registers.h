/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef WB_REGISTERS_H
#define WB_REGISTERS_H

#include "kernel.h"

/* The registers at a function's entry, include/uapi/asm/ptrace.h: user ABI, so without BTF. */
struct wb_registers {
#if defined(__TARGET_ARCH_x86)
	u64 other[13];
	u64 second; /* rsi */
	u64 first; /* rdi */
#elif defined(__TARGET_ARCH_arm64)
	u64 first; /* x0 */
	u64 second; /* x1 */
#else
#error "no registers are named for this architecture"
#endif
};

#endif /* WB_REGISTERS_H */
