/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who a task is: the process that connections and everything else belong to. Reads only. */
#ifndef WB_TASK_BPF_H
#define WB_TASK_BPF_H

#include "abi.h"
#include "compat.bpf.h"

/* Fills the process from a task: names of the group leader, not of one thread. */
static __always_inline void task_process(struct task_struct *task, struct wb_process *process)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	const unsigned char *name = BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name);

	process->tgid = BPF_CORE_READ(task, tgid);
	process->start_ns = task_start_boottime(leader);
	if (bpf_core_field_exists(task->cgroups))
		process->cgroup_id = cgroup_id(BPF_CORE_READ(task, cgroups, dfl_cgrp));
	BPF_CORE_READ_STR_INTO(&process->comm, leader, comm);
	if (name)
		bpf_probe_read_kernel_str(&process->exe, sizeof(process->exe), name);
}

#endif /* WB_TASK_BPF_H */
