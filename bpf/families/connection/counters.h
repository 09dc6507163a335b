/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef WB_CONNECTION_COUNTERS_H
#define WB_CONNECTION_COUNTERS_H

/* clang-format off */
/* What the programs of family `connection` count; families/registry.h says what the words are for. */
#define WB_CONNECTION_COUNTERS(X) \
	X(CONNECTIONS_INSERTED, kernel_connections_inserted_total, \
	  "connections entered into the kernel's table", \
	  "normal") \
	X(CONNECTIONS_DELETED, kernel_connections_deleted_total, \
	  "taken out at their end", \
	  "normal") \
	X(CONNECTIONS_FAILED, kernel_connections_dropped_refused_total, \
	  "the table took no more", \
	  "raise `limits.connections`") \
	X(OPTION_WRITTEN, option_written_total, \
	  "options written", \
	  "normal") \
	X(OPTION_READ, option_read_total, \
	  "options read and believed", \
	  "normal") \
	X(OPTION_BAD_MAC, option_bad_mac_total, \
	  "wrong signature, ignored", \
	  "another fleet, a key that differs between hosts, or a forger") \
	X(OPTION_MALFORMED, option_malformed_total, \
	  "not a waybill, or signed without a token, ignored", \
	  "another user of the same kind and ExID, or a forger") \
	X(OPTION_UNKNOWN_EPOCH, option_unknown_epoch_total, \
	  "key epoch unknown here, ignored", \
	  "a rotation in progress, or a host that missed it") \
	X(OPTION_NO_ROOM, option_no_room_total, \
	  "the segment had no room", \
	  "harmless; that connection has no token") \
	X(OPTION_NOT_ALLOWED, option_not_allowed_total, \
	  "destination not in `option.destinations`", \
	  "extend the list if it should be") \
	X(OPTION_PATH_OFF, option_path_off_total, \
	  "connections without the option because their path is off or on trial, see [below](#paths-that-do-not-let-the-option-through)", \
	  "look at `paths_off`") \
	X(OPTION_STORE_FAILED, option_store_failed_total, \
	  "the kernel refused to store it", \
	  "another program writes options too") \
	X(PATH_FAILURES, option_path_failures_total, \
	  "signs that a path drops or strips the option; plain loss gives them, too", \
	  "normal where packets get lost, see [below](#paths-that-do-not-let-the-option-through)") \
	X(CLONE_REDIRECT_FAILED, clone_failed_redirect_total, \
	  "the kernel did not send the copy", \
	  "a full queue") \
	X(CLONE_REWRITE_FAILED, clone_failed_rewrite_total, \
	  "the copy could not be changed and was dropped", \
	  "no memory; report it if it goes on") \
	X(CLONE_UNSEEN, clone_failed_unseen_total, \
	  "the copy did not come back to our filter", \
	  "a filter of another program took it") \
	X(CLONE_OVERWRITTEN, clone_overwritten_total, \
	  "connections that lost their place before a segment could be copied", \
	  "tens of thousands of accepted connections that stay silent") \
	X(CLONE_UNSENT, clone_unsent_total, \
	  "connections that ended before a segment could be copied", \
	  "servers that close without a word; else a filter of another program ends the chain before ours") \
	X(CLONE_ASLEEP, clone_asleep_total, \
	  "segments left alone because the agent gave no heartbeat", \
	  "the agent was stopped or starved for 10 s") \
	X(CLONE_SIGNED, clone_signed_total, \
	  "connections with TCP MD5 or AO, which get no copy", \
	  "normal") \
	X(CLONE_ARRIVED, clone_arrived_total, \
	  "options that filters read", \
	  "more than `option_read_total` where this host forwards for others") \
	X(CLONE_ARRIVALS_FAILED, clone_arrivals_dropped_refused_total, \
	  "the table of arrived options took no more", \
	  "report it") \
	X(CLONE_TAKEN_OFF, clone_taken_off_total, \
	  "copies that were read and dropped", \
	  "normal where this host does not forward") \
	X(CLONE_NONLINEAR, clone_nonlinear_total, \
	  "headers out of a filter's reach", \
	  "a driver that leaves headers in pages: report it") \
	X(OPTION_UNSENT, option_unsent_total, \
	  "connections that ended before the kernel's TCP stack could write it", \
	  "accepted connections on which no data came; else another sockops program clears the flags of all others") \
	X(CONNECTIONS_LATE, kernel_connections_late_total, \
	  "connections of which the kernel did not tell how they began; entered, with all their numbers, when they ended", \
	  "a few are normal") \
	X(PATH_SWITCHED_OFF, option_path_switched_off_total, \
	  "times a path was switched off", \
	  "look at `paths_off`")
/* clang-format on */

#endif /* WB_CONNECTION_COUNTERS_H */
