/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A packet's headers, from the network header on. What is too short for its own lengths keeps what could be read; a
 * later fragment has no ports. One load brings what nearly every packet needs.
 */
#ifndef NETPROC_PARSE_BPF_H
#define NETPROC_PARSE_BPF_H

#include "wire.bpf.h"

#define EXTENSIONS 8

struct packet {
	__u32 size;
	__u32 header; /* of network and transport; the payload begins here */
	__u16 sport;
	__u16 dport;
	__u8 family;	/* 0: not IP, or cut within the network header */
	__u8 transport; /* IPPROTO_ */
	__u8 flags;
	__u8 fragment; /* a later one */
	__u8 src[16];
	__u8 dst[16];
};
_Static_assert(sizeof(struct packet) == 48, "packet");

/* Walk IPv6 extension headers; give where the transport begins. */
static __always_inline __u32 extensions(struct __sk_buff *skb, struct packet *packet)
{
	__u32 at = 40;
	__u8 head[8];

#pragma unroll
	for (int i = 0; i < EXTENSIONS; i++) {
		__u8 kind = packet->transport;

		if (kind != IPPROTO_HOPOPTS && kind != IPPROTO_ROUTING && kind != IPPROTO_DSTOPTS &&
		    kind != IPPROTO_FRAGMENT && kind != IPPROTO_AH)
			break;
		if (packet->fragment || bpf_skb_load_bytes(skb, at, head, sizeof(head)))
			break;
		packet->transport = head[0];
		if (kind == IPPROTO_FRAGMENT) {
			packet->fragment = (be16(head + 2) & 0xfff8) != 0;
			at += 8;
		} else if (kind == IPPROTO_AH) {
			at += (head[1] + 2) * 4;
		} else {
			at += (head[1] + 1) * 8;
		}
	}
	return at;
}

static __always_inline void transport(struct packet *packet, const __u8 *head, __u64 length)
{
	if (packet->transport == IPPROTO_TCP || packet->transport == IPPROTO_UDP) {
		if (length < 4)
			return;
		packet->sport = be16(head);
		packet->dport = be16(head + 2);
	}
	if (packet->transport == IPPROTO_TCP && length >= 14) {
		packet->flags = head[13];
		packet->header += (head[12] >> 4) * 4;
	} else if (packet->transport == IPPROTO_UDP || packet->transport == IPPROTO_ICMP ||
		   packet->transport == IPPROTO_ICMPV6) {
		packet->header += 8;
	}
}

/* A function of its own, which the verifier looks at once, and not once for each way that leads here (5.12). */
__noinline int parse(struct __sk_buff *skb, struct packet *packet)
{
	__u8 head[64] = {}, rest[20] = {};
	__u64 length = skb->len;
	__u32 at;

	if (!packet)
		return 0;
	packet->size = length;
	if (length > sizeof(head))
		length = sizeof(head);
	bounded(length);
	if (length < 20 || length > sizeof(head))
		return 0;
	if (bpf_skb_load_bytes(skb, 0, head, length))
		return 0;
	if (head[0] >> 4 == 4) {
		at = (head[0] & 15) * 4;
		packet->transport = head[9];
		packet->fragment = (be16(head + 6) & 0x1fff) != 0;
		__builtin_memcpy(packet->src, head + 12, 4);
		__builtin_memcpy(packet->dst, head + 16, 4);
		packet->family = 4;
	} else if (head[0] >> 4 == 6 && length >= 40) {
		packet->transport = head[6];
		__builtin_memcpy(packet->src, head + 8, 16);
		__builtin_memcpy(packet->dst, head + 24, 16);
		packet->family = 6;
		at = extensions(skb, packet);
	} else {
		return 0;
	}
	packet->header = at < packet->size ? at : packet->size;
	if (packet->fragment || at < 20 || at >= packet->size)
		return 0;
	if (at == 20) {
		transport(packet, head + 20, length - 20);
	} else if (at == 40) {
		transport(packet, head + 40, length - 40);
	} else {
		length = packet->size - at;
		if (length > sizeof(rest))
			length = sizeof(rest);
		bounded(length);
		if (length > 0 && length <= sizeof(rest) && !bpf_skb_load_bytes(skb, at, rest, length))
			transport(packet, rest, length);
	}
	if (packet->header > packet->size)
		packet->header = packet->size;
	return 0;
}

#endif
