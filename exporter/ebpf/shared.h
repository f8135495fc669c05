/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel's side and ours hand to each other. exporter/ebpf/layout.py is the same in Python, and a test
 * compares both with the compiled object. Every structure is padded by hand: a hash of a key reads its holes too.
 *
 * Addresses: IPv4 in the first four bytes, the rest zero; an IPv4-mapped one is IPv4. Ports: host order.
 * Times: nanoseconds of CLOCK_MONOTONIC; `start`, which names a process together with tgid: of CLOCK_BOOTTIME.
 */
#ifndef NETPROC_SHARED_H
#define NETPROC_SHARED_H

enum { RECEIVE, TRANSMIT, WAYS };

/* How the owner of a socket became known. */
enum {
	ORIGIN_NONE,	  /* not at all: after the inventory that means the kernel's own socket */
	ORIGIN_CREATED,	  /* it called socket() */
	ORIGIN_LISTENER,  /* its listener called socket(); nobody has used it yet */
	ORIGIN_USED,	  /* it sent or received */
	ORIGIN_INVENTORY, /* a descriptor of it was found; the socket is older than we are */
	ORIGIN_KERNEL,	  /* the kernel made it */
	ORIGIN_ORPHAN,	  /* no process holds it (any more); older than we are */
};

/*
 * One socket's connection, as the socket sees it: so network address translation outside of it changes nothing. The
 * cookie stands for the network namespace, and keeps apart sockets that use the same ends within one turn. A listener
 * has no remote end; an overflow entry has an owner (cookie: tgid, local: start) in place of ends.
 */
struct key {
	__u64 cookie;
	__u8 local[16];
	__u8 remote[16];
	__u16 lport;
	__u16 rport;
	__u8 transport; /* IPPROTO_ */
	__u8 family;	/* 4, 6 */
	__u8 overflow;
	__u8 pad;
};
_Static_assert(sizeof(struct key) == 48, "key");

/* As the stack counted; `more` is what segmentation adds on the wire (headers, packets). */
struct count {
	__u64 packets;
	__u64 bytes;
	__u64 more_packets;
	__u64 more_bytes;
};
_Static_assert(sizeof(struct count) == 32, "count");

/* What may still be brought up for inspection, each way. */
struct budget {
	__u32 packets[WAYS];
	__u32 bytes[WAYS];
};
#define UNLIMITED 0xffffffff
#define ANSWERS 16 /* packets that are left for what begins an answer, when something long has spent the rest */
#define BEGINNING 2048 /* bytes of such a packet */
#define LISTENER_BYTES (1 << 20) /* of what is said with a handshake's last segment, each listener and turn */
_Static_assert(sizeof(struct budget) == 16, "budget");

struct flow {
	struct count way[WAYS];
	__u64 last;
	__u64 netns;
	__u64 start;
	__u64 cgroup;
	__u32 tgid;
	__u32 uid;
	struct budget left;
	__u32 retransmits;
	__u16 states; /* bit n: was in state n (TCP_) in this turn, or left it */
	__u8 state;   /* the last of them; 0: not TCP */
	__u8 origin;
	__u8 error; /* why the socket ended: an errno, or 0 */
	__u8 raw;   /* a raw socket: what it receives are copies, of TCP and UDP counted elsewhere too */
	__u8 quiet; /* nothing of it is brought up: its owner is in the map `quiet` */
	__u8 side;  /* 1 + the way of the last payload of this turn; 0: there was none */
	__u32 space; /* the network namespace by its inode; 0: not known, see who else has this cookie */
};
_Static_assert(sizeof(struct flow) == 136, "flow");

/* In socket storage; a listener's is cloned for what it accepts. */
struct owner {
	__u64 netns;
	__u64 start;
	__u64 cgroup;
	__u32 tgid;
	__u32 uid;
	__u32 space;
	__u8 origin;
	__u8 said;    /* which of its ends were told: SAID_ */
	__u8 changes; /* how often its owner changed */
	__u8 pad;
};
_Static_assert(sizeof(struct owner) == 40, "owner");
#define SAID_BOUND 1
#define SAID_ENDS 2

/* In a worker's ring: a packet from its network header on. It is counted in the map all the same. */
struct frame {
	__u64 time;
	struct key key;
	__u64 netns;
	__u32 tgid;
	__u32 size;	/* of the packet here */
	__u32 captured; /* of it below */
	__u16 segments;
	__u8 way;
	__u8 pad;
	__u8 data[];
};
_Static_assert(sizeof(struct frame) == 80, "frame");
/* Records come in three sizes: the verifier wants constants. */
#define FRAME_SMALL 176
#define FRAME_MIDDLE 1968
#define FRAME_LARGE 16304

/* In the ring of events, for who names processes. */
enum { EVENT_PROCESS = 1, EVENT_EXEC, EVENT_CLOSE, EVENT_ENDS };

struct process {
	__u32 kind;
	__u32 tgid;
	__u64 time;
	__u64 start;
	__u64 cgroup;
	__u64 cookie; /* of the socket that closes (EVENT_CLOSE) */
	__u32 ppid;
	__u32 uid;
	char comm[16];
	char executable[64]; /* the file's name, without its folder */
};
_Static_assert(sizeof(struct process) == 128, "process");

/* A socket has these ends now, or another owner: told before its first packet where the kernel allows it. */
struct ends {
	__u32 kind;
	__u32 tgid;
	__u64 time;
	__u64 start;
	__u64 lost; /* events so far that found the ring full */
	struct key key;
	__u32 space;
	__u8 origin;
	__u8 pad[3];
};
_Static_assert(sizeof(struct ends) == 88, "ends");

/* A row of the iterators: a socket, and for task_file who holds it by which descriptor. */
struct holder {
	struct key key;
	__u64 netns;
	__u64 start;
	__u64 inode;
	__u32 space;
	__u32 tgid;
	__u32 ppid;
	__u32 uid;
	__u32 fd;
	__u8 state;
	__u8 type; /* SOCK_ */
	__u8 kernel;
	__u8 pad;
	char comm[16];
};
_Static_assert(sizeof(struct holder) == 112, "holder");

/* Of each worker, which turns it. */
struct control {
	__u32 generation;
	__u32 pad;
};

/* Per CPU, in this order. */
enum {
	LOST_FRAMES,	   /* the ring was full */
	LOST_EVENTS,	   /* the same, of events */
	OVERFLOWS,	   /* packets and state changes kept by owner only: the map was full */
	UNCOUNTED_PACKETS, /* counted nowhere: that was full too */
	UNCOUNTED_BYTES,
	HEALTH,
};

#define SLOTS 4 /* of a worker in `flows`: two turns of connections, two of their overflow */
#define MAX_WORKERS 64

/* Set before the programs are loaded; the verifier drops what it turns off. */
struct settings {
	__u32 workers;
	__u32 packets;	/* a connection's budget, each way */
	__u32 bytes;	/* the same */
	__u32 listener; /* packets without connection, each listener and turn */
	__u16 ports[6]; /* UDP ports always brought up: DNS and its kin */
	__u8 netns_helper;
	__u8 task_helpers;
	__u8 pad[2];
};
_Static_assert(sizeof(struct settings) == 32, "settings");

#endif
