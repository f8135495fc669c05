/* Sends COUNT UDP datagrams of SIZE bytes to ADDRESS, ports 20000 and on, from SOCKETS connected sockets in turn; with
 * SOCKETS 0 from one unconnected socket, each to another port or address, of which there are TUPLES (0: COUNT).
 * RATE a second (0: as fast as it goes). Prints how many the kernel took and how many it takes a second.
 * usage: flood ADDRESS SIZE SOCKETS COUNT [RATE [TUPLES]] */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, MAX_SOCKETS = 1 << 17, MAX_SIZE = 2048, PORTS = 40000, ROUND = 1 << 16 };

static void scatter(struct mmsghdr *batch, struct sockaddr_in *to, in_addr_t first, long from)
{
	for (int i = 0; i < BATCH; i++) {
		to[i].sin_family = AF_INET;
		to[i].sin_addr.s_addr = htonl(ntohl(first) + (from + i) / PORTS);
		to[i].sin_port = htons(20000 + (from + i) % PORTS);
		batch[i].msg_hdr.msg_name = &to[i];
		batch[i].msg_hdr.msg_namelen = sizeof to[i];
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void pace(double start, long done, long rate)
{
	double early = rate ? start + (double)done / rate - now() : 0;

	if (early > 0.001)
		nanosleep(&(struct timespec){.tv_nsec = early < 0.9 ? early * 1e9 : 900000000}, NULL);
}

static void allow(long sockets)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = sockets + 64;
	if (limit.rlim_cur > limit.rlim_max)
		limit.rlim_max = limit.rlim_cur;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	static char payload[MAX_SIZE];
	static int sockets[MAX_SOCKETS];
	struct iovec iov;
	struct mmsghdr batch[BATCH];
	struct sockaddr_in names[BATCH];
	long size, used, count, rate, tuples, burst, sent = 0;
	double start;

	if (argc < 5 || argc > 7)
		return 2;
	size = atol(argv[2]), used = atol(argv[3]), count = atol(argv[4]);
	rate = argc > 5 ? atol(argv[5]) : 0;
	tuples = argc > 6 && atol(argv[6]) ? atol(argv[6]) : count;
	if (size > MAX_SIZE || used > MAX_SOCKETS)
		return 2;
	allow(used);
	burst = used > ROUND / BATCH ? ROUND / used + (used > ROUND) : BATCH; /* so that a round is short */
	iov = (struct iovec){payload, size};
	memset(batch, 0, sizeof batch);
	for (int i = 0; i < BATCH; i++)
		batch[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
	for (int i = 0; i < used; i++) {
		struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(20000 + i % PORTS)};
		inet_pton(AF_INET, argv[1], &to.sin_addr);
		sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (sockets[i] < 0 || connect(sockets[i], (struct sockaddr *)&to, sizeof to)) {
			perror("socket");
			return 1;
		}
	}
	if (!used)
		sockets[0] = socket(AF_INET, SOCK_DGRAM, 0);
	start = now();
	for (int turn = 0; sent < count; turn++) {
		long left = count - sent;
		int done;
		if (!used)
			scatter(batch, names, inet_addr(argv[1]), sent % tuples);
		pace(start, sent, rate);
		done = sendmmsg(sockets[used ? turn % used : 0], batch, left < burst ? left : burst, 0);
		if (done > 0) /* an error told of earlier datagrams costs this call, not a datagram */
			sent += done;
	}
	printf("%ld %.0f\n", sent, sent / (now() - start));
	return 0;
}
