/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the filter on a capture's descriptor and its worker hand to each other. exporter/ebpf/filters.py is the same in
 * Python, and a test compares both with the compiled object. Padded by hand: a hash of a key reads its holes too.
 */
#ifndef NETPROC_OFFLOAD_H
#define NETPROC_OFFLOAD_H

/* One direction on one interface. `ends` are the packet's own bytes, as the worker's tables have them: both addresses,
 * then both ports (12 bytes for IPv4 and ARP, 36 for IPv6), and zeros. */
struct direction {
	__u32 interface;
	__u8 transport; /* IPPROTO_; ARP: 0 */
	__u8 family;	/* 4, 6; ARP: 0 */
	__u16 pad;
	__u8 ends[36];
};
_Static_assert(sizeof(struct direction) == 44, "direction");

/* Where a direction is counted, and the row whose `open` speaks for its whole connection. */
struct place {
	__u32 row;
	__u32 gate;
};
_Static_assert(sizeof(struct place) == 8, "place");

/* Packets and bytes as the worker counts them: segments of what segmentation offload made one are counted. */
struct row {
	__u64 packets;
	__u64 bytes;
	__u64 estimated; /* of these packets those that segmentation hides */
	__u64 padding;	 /* bytes behind short packets */
	__u64 tags;	 /* bytes of VLAN tags, which are outside of the data */
	__u64 last;	 /* CLOCK_MONOTONIC, nanoseconds */
	__u32 next;	 /* TCP: the number that must come */
	__u32 first;	 /* the first that is counted here */
	__u32 limit;	 /* where the worker wants to read on, if `limited` */
	__u32 big;	 /* an IP packet above this is several on the wire */
	__u8 began;
	__u8 limited;
	__u8 open;	 /* everything goes up; written by both sides, and by neither taken back */
	__u8 pad[5];
};
_Static_assert(sizeof(struct row) == 72, "row");

/* Set before the programs are loaded. */
struct share {
	__u32 workers;
	__u32 index;
	__u32 snaplen;
	__u32 pad;
};
_Static_assert(sizeof(struct share) == 16, "share");

#endif
