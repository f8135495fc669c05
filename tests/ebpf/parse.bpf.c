// SPDX-License-Identifier: GPL-2.0-only
/* The packet parser alone, its result where the test can read it. */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"
#include "compat.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet);
} result SEC(".maps");

SEC("cgroup_skb/ingress") int parse_only(struct __sk_buff *skb)
{
	struct packet packet = {};
	__u32 zero = 0;

	parse(skb, &packet);
	bpf_map_update_elem(&result, &zero, &packet, BPF_ANY);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
