/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef WB_LISTENER_COUNTERS_H
#define WB_LISTENER_COUNTERS_H

/* clang-format off */
/* What the programs of family `listener` count; families/registry.h says what the words are for. */
#define WB_LISTENER_COUNTERS(X) \
	X(LISTENERS_FULL, kernel_listeners_dropped_full_total, \
	  "sockets that began to listen and whose process was not noted: the table was full", \
	  "more than 4,096 listen at once; the rows of the others name no process") \
	X(QUEUES_FULL, kernel_listener_queues_dropped_full_total, \
	  "connections that did not count for `queue_most`: the table was full", \
	  "more than 4,096 ends took connections in one interval; `queue_most` of the others is too low")
/* clang-format on */

#endif /* WB_LISTENER_COUNTERS_H */
