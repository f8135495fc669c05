// SPDX-License-Identifier: GPL-2.0-only
/*
 * A filter for the descriptor of a capture. What the worker has told it to count it counts, and drops; everything else
 * goes up, if it is this worker's. The decision is one: who counts a packet does not hand it over, and the reverse.
 *
 * The worker tells of directions of which it would do no more than count. Of TCP a packet goes up all the same that
 * begins or ends something, or is not the next in order, or reaches where the worker wants to read on; from then on all
 * of its connection does, so that the worker sees it in order.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "offload.h"
#include "wire.bpf.h"

#define IPV4 0x0800
#define IPV6 0x86dd
#define ARP 0x0806
#define ETHERNET 14
#define OUTGOING 4 /* PACKET_OUTGOING of linux/if_packet.h */
#define LOOPBACK 1 /* the interface's number, in each network namespace (LOOPBACK_IFINDEX) */
#define SMALLEST 46
#define TAG 4
#define TAGS 2

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct direction);
	__type(value, struct place);
} known SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct row);
} rows SEC(".maps");

const volatile struct share share = {};

struct segment {
	__u32 seq;
	__u32 payload;
	__u8 flags;
};

struct found {
	struct direction key;
	__u32 size; /* IP bytes; ARP: 28 */
	__u32 transport; /* where its header is, from the network header on */
};

/* ------------------------------------------------------------------------------------------- whose is it */

/* The network header's place, and whether there is room for it; 0: no IP. */
static __always_inline __u32 network(struct __sk_buff *skb, __u32 at, __u8 *head)
{
	__u8 type[2];
	__u16 kind;

	if (at == ETHERNET) {
#pragma unroll
		for (int tags = 0; tags <= TAGS; tags++) {
			if (bpf_skb_load_bytes(skb, at - 2, type, 2))
				return 0;
			kind = be16(type);
			if (kind == IPV4 || kind == IPV6)
				break;
			if (tags == TAGS || (kind != 0x8100 && kind != 0x88a8 && kind != 0x9100))
				return 0;
			at += TAG;
		}
	}
	return bpf_skb_load_bytes(skb, at, head, 20) ? 0 : at + 1;
}

/* The last 32 bits of both addresses, exclusive or; 0 where there is no room for them. */
static __always_inline int pair(struct __sk_buff *skb, __u32 at, const __u8 *head, __u32 *both)
{
	__u32 from, to;

	if (head[0] >> 4 == 6) {
		if (bpf_skb_load_bytes(skb, at + 20, &from, 4) || bpf_skb_load_bytes(skb, at + 36, &to, 4))
			return 0;
	} else {
		__builtin_memcpy(&from, head + 12, 4);
		__builtin_memcpy(&to, head + 16, 4);
	}
	*both = __builtin_bswap32(from ^ to);
	return 1;
}

/* An ICMP error goes where the packet that it quotes goes: the quoted header's place; 0: none. */
static __always_inline __u32 quoted(struct __sk_buff *skb, __u32 at, const __u8 *head)
{
	__u32 behind = at + 40;
	__u8 kind = 0, transport = head[6];

	if (head[0] >> 4 == 4) {
		if (be16(head + 6) & 0x3fff)
			return 0;
		behind = at + (head[0] & 15) * 4;
		transport = head[9];
	}
	if (transport != IPPROTO_ICMP && transport != IPPROTO_ICMPV6)
		return 0;
	if (bpf_skb_load_bytes(skb, behind, &kind, 1))
		return 0;
	if (transport == IPPROTO_ICMP ? kind != 3 && kind != 4 && kind != 5 && kind != 11 && kind != 12 :
					kind < 1 || kind > 4)
		return 0;
	return behind + 8;
}

/* capture/deal.py in C: what is no IP packet is the first worker's. */
static __always_inline int ours(struct __sk_buff *skb, __u32 start)
{
	__u8 head[20], inner[20];
	__u32 at, behind, both;

	if (share.workers < 2)
		return 1;
	at = network(skb, start, head);
	if (!at || (head[0] >> 4 != 4 && head[0] >> 4 != 6))
		return !share.index;
	at--;
	behind = quoted(skb, at, head);
	if (!behind || bpf_skb_load_bytes(skb, behind, inner, 20) || (inner[0] >> 4 != 4 && inner[0] >> 4 != 6) ||
	    !pair(skb, behind, inner, &both))
		if (!pair(skb, at, head, &both))
			return !share.index;
	return both % share.workers == share.index;
}

/* -------------------------------------------------------------------------------------------- what is it */

/* Ports, where the transport has some; whether there is nothing to do but count. */
static __always_inline int plain(struct __sk_buff *skb, __u32 start, struct found *found, __u32 addresses)
{
	__u32 at = start + found->transport;
	__u8 kind;

	switch (found->key.transport) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		if (found->size <= found->transport + 8)
			return 0;
		return !bpf_skb_load_bytes(skb, at, found->key.ends + addresses, 4);
	case IPPROTO_ICMP:
		return !bpf_skb_load_bytes(skb, at, &kind, 1) && kind != 3 && kind != 4 && kind != 5 && kind != 11 &&
		       kind != 12;
	case IPPROTO_ICMPV6:
		return !bpf_skb_load_bytes(skb, at, &kind, 1) && kind > 127;
	case IPPROTO_GRE:
	case IPPROTO_ESP:
		return 1;
	}
	return 0;
}

/* A whole packet of the plainest kind, as the worker's own short cut takes it; everything else is read up there. */
static __always_inline int look(struct __sk_buff *skb, __u32 start, struct found *found)
{
	__u8 head[ETHERNET + 20], *ip = head + start;
	__u16 kind;

	if (bpf_skb_load_bytes(skb, 0, head, start + 20))
		return 0;
	kind = start ? be16(head + 12) : ip[0] >> 4 == 6 ? IPV6 : IPV4;
	found->key.interface = skb->ifindex;
	if (kind == IPV4 && ip[0] == 0x45) {
		if (be16(ip + 6) & 0x3fff)
			return 0;
		found->key.family = 4;
		found->key.transport = ip[9];
		__builtin_memcpy(found->key.ends, ip + 12, 8);
		found->size = be16(ip + 2);
		found->transport = 20;
		return found->size >= 20 && plain(skb, start, found, 8);
	}
	if (kind == IPV6 && ip[0] >> 4 == 6) {
		found->size = be16(ip + 4) + 40;
		found->key.family = 6;
		found->key.transport = ip[6];
		found->transport = 40;
		if (found->size == 40 || bpf_skb_load_bytes(skb, start + 8, found->key.ends, 32))
			return 0;
		return plain(skb, start, found, 32);
	}
	if (kind == ARP && be16(ip + 2) == IPV4 && ip[4] == 6 && ip[5] == 4) {
		found->size = 28;
		return !bpf_skb_load_bytes(skb, start + 14, found->key.ends, 4) &&
		       !bpf_skb_load_bytes(skb, start + 24, found->key.ends + 4, 4);
	}
	return 0;
}

static __always_inline int segment(struct __sk_buff *skb, __u32 at, const struct found *found, struct segment *segment)
{
	__u8 head[10];
	__u32 header;

	if (bpf_skb_load_bytes(skb, at + 4, head, sizeof(head)))
		return 0;
	header = found->transport + (head[8] >> 4) * 4;
	if (head[8] < 0x50 || header > found->size)
		return 0;
	__builtin_memcpy(&segment->seq, head, 4);
	segment->seq = __builtin_bswap32(segment->seq);
	segment->payload = found->size - header;
	segment->flags = head[9];
	return 1;
}

/* ------------------------------------------------------------------------------------------------- count */

/* The next in order, and not where the worker reads on. The first goes up too: it may be old, and the worker knows. */
static __always_inline int goes_on(struct row *row, struct row *gate, const struct segment *segment)
{
	__u32 end = segment->seq + segment->payload;

	if (segment->flags & (FIN | SYN | RST) || (row->began && segment->seq != row->next) ||
	    (row->limited && (__s32)(end - row->limit) > 0)) {
		*(volatile __u8 *)&gate->open = 1;
		return 0;
	}
	row->next = end;
	if (row->began)
		return 1;
	row->first = end;
	row->began = 1;
	return 0;
}

/* engine/segments.py in C: how many segments a packet is on the wire. */
static __always_inline __u32 hidden(const struct row *row, __u32 size, __u32 payload)
{
	__u32 headers = size - payload;

	if (size <= row->big || !payload || row->big <= headers)
		return 0;
	return (payload - 1) / (row->big - headers);
}

static __always_inline void count(struct row *row, __u32 size, __u32 payload, __u32 padding, __u32 tags)
{
	__u32 more = hidden(row, size, payload);

	__sync_fetch_and_add(&row->packets, 1 + more);
	__sync_fetch_and_add(&row->bytes, size + (__u64)more * (size - payload));
	if (more)
		__sync_fetch_and_add(&row->estimated, more);
	if (padding)
		__sync_fetch_and_add(&row->padding, padding);
	if (tags)
		__sync_fetch_and_add(&row->tags, tags);
	row->last = bpf_ktime_get_coarse_ns();
}

/* Whether it was counted here. */
static __always_inline int take(struct __sk_buff *skb, __u32 start)
{
	struct found found = {};
	struct segment part = {};
	struct place *place;
	struct row *row, *gate;
	__u32 padding;

	if (!look(skb, start, &found))
		return 0;
	place = bpf_map_lookup_elem(&known, &found.key);
	if (!place)
		return 0;
	row = bpf_map_lookup_elem(&rows, &place->row);
	gate = bpf_map_lookup_elem(&rows, &place->gate);
	if (!row || !gate || *(volatile __u8 *)&gate->open || skb->len < start + found.size)
		return 0;
	padding = skb->len - start - found.size;
	if (padding && found.size >= SMALLEST)
		return 0;
	if (found.key.transport == IPPROTO_TCP) {
		if (!segment(skb, start + found.transport, &found, &part) || !goes_on(row, gate, &part))
			return 0;
	}
	count(row, found.size, part.payload, padding, skb->vlan_present ? TAG : 0);
	return 1;
}

static __always_inline int see(struct __sk_buff *skb, __u32 start)
{
	if (skb->ifindex == LOOPBACK && skb->pkt_type == OUTGOING) /* each packet comes twice there */
		return 0;
	if (take(skb, start))
		return 0;
	return ours(skb, start) ? share.snaplen : 0;
}

SEC("socket") int ethernet(struct __sk_buff *skb)
{
	return see(skb, ETHERNET);
}

/* Interfaces without a link header. */
SEC("socket") int bare(struct __sk_buff *skb)
{
	return see(skb, 0);
}

char LICENSE[] SEC("license") = "GPL";
