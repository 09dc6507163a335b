/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every family, what its records are and what its programs count: the one place that lists them. The
 * numbers of core/abi.h, the names by which the agent reports counters, and how docs/OPERATIONS.md
 * explains them are made of these lists.
 */
#ifndef WB_REGISTRY_H
#define WB_REGISTRY_H

#include "families/connection/counters.h"
#include "families/listener/counters.h"

/* F(NAME) */
#define WB_FAMILIES(F) F(CONNECTION) F(LISTENER)

/*
 * Kinds of records: K(NAME, FAMILY, name, what the records are). Of each kind the agent reports
 * kernel_records_attempted_<name>_total and kernel_records_dropped_<name>_total.
 */
#define WB_RECORD_KINDS(K) K(CONNECTION, CONNECTION, connection, "ends of connections")

/* X(NAME, name by which it is reported, "what it means", "what to do when it grows") */
#define WB_COUNTERS(X) WB_CONNECTION_COUNTERS(X) WB_LISTENER_COUNTERS(X)

#endif /* WB_REGISTRY_H */
