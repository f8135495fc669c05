/* Sends COUNT UDP datagrams of SIZE bytes to ADDRESS, ports 20000 and on, from SOCKETS connected sockets in turn; with
 * SOCKETS 0 from one unconnected socket, each to another port or address.
 * Prints how many the kernel took and how many it takes a second.
 * usage: flood ADDRESS SIZE SOCKETS COUNT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, MAX_SOCKETS = 4096, MAX_SIZE = 2048, PORTS = 40000 };

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

int main(int argc, char **argv)
{
	static char payload[MAX_SIZE];
	static int sockets[MAX_SOCKETS];
	struct iovec iov;
	struct mmsghdr batch[BATCH];
	struct sockaddr_in names[BATCH];
	struct timespec start, end;
	long size, used, count, sent = 0;

	if (argc != 5)
		return 2;
	size = atol(argv[2]), used = atol(argv[3]), count = atol(argv[4]);
	iov = (struct iovec){payload, size};
	memset(batch, 0, sizeof batch);
	for (int i = 0; i < BATCH; i++)
		batch[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
	for (int i = 0; i < used; i++) {
		struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(20000 + i)};
		inet_pton(AF_INET, argv[1], &to.sin_addr);
		sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (sockets[i] < 0 || connect(sockets[i], (struct sockaddr *)&to, sizeof to)) {
			perror("socket");
			return 1;
		}
	}
	if (!used)
		sockets[0] = socket(AF_INET, SOCK_DGRAM, 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int turn = 0; sent < count; turn++) {
		long left = count - sent;
		int done;
		if (!used)
			scatter(batch, names, inet_addr(argv[1]), sent);
		done = sendmmsg(sockets[used ? turn % used : 0], batch, left < BATCH ? left : BATCH, 0);
		if (done > 0) /* an error told of earlier datagrams costs this call, not a datagram */
			sent += done;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%ld %.0f\n", sent, sent / (end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9));
	return 0;
}
