/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The iterators: which sockets there are and who holds them. Run at the start, they also give an owner to each socket
 * that is older than we are; later they refine, in user space, what is shared. task_file sees every network namespace;
 * tcp and udp see that of whoever opens them, and know orphans and the kernel's own.
 */

static __always_inline void row(struct holder *holder, struct sock *sk)
{
	__builtin_memset(holder, 0, sizeof(*holder));
	ends_of(&holder->key, sk);
	holder->key.cookie = bpf_get_socket_cookie(sk);
	holder->netns = netns_of(sk);
	holder->space = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	holder->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	holder->type = BPF_CORE_READ(sk, sk_type);
	holder->kernel = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock);
}

/* Of several processes that hold a socket the oldest has it: the others are its children. They come in the order of
 * their numbers, which says nothing once those have been used up and begin anew. */
static __always_inline void adopt(struct sock *sk, const struct holder *holder, __u8 origin)
{
	struct owner *owner = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!owner)
		return;
	if (owner->origin != ORIGIN_NONE && (origin != ORIGIN_INVENTORY || owner->origin != ORIGIN_INVENTORY ||
					     holder->start >= owner->start))
		return;
	owner->netns = holder->netns;
	owner->space = holder->space;
	owner->start = holder->start;
	owner->tgid = holder->tgid;
	owner->uid = holder->uid;
	owner->origin = origin;
}

/* Sockets that are older than their reader, who may have started anew: as many as leave half of the ring free. */
static __always_inline void tell_again(struct sock *sk, const struct key *key)
{
	struct owner *owner;

	if (!key->lport || (key->transport != IPPROTO_UDP && (key->transport != IPPROTO_TCP || !key->rport)))
		return;
	owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (owner && bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 2)
		emit_ends(owner, key, 0);
}

SEC("iter/task_file") int list_files(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task;
	struct file *file = context->file;
	struct holder holder;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !is_inet(sk))
		return 0;
	row(&holder, sk);
	holder.inode = BPF_CORE_READ(file, f_inode, i_ino);
	holder.fd = context->fd;
	holder.tgid = task->tgid;
	task = BPF_CORE_READ(task, group_leader);
	holder.start = BPF_CORE_READ(task, start_boottime);
	holder.ppid = BPF_CORE_READ(task, real_parent, tgid);
	holder.uid = BPF_CORE_READ(task, cred, uid.val);
	BPF_CORE_READ_STR_INTO(&holder.comm, task, comm);
	adopt(sk, &holder, ORIGIN_INVENTORY);
	tell_again(sk, &holder.key);
	bpf_seq_write(context->meta->seq, &holder, sizeof(holder));
	return 0;
}

static __always_inline int list(struct seq_file *seq, struct sock *sk, __u32 uid)
{
	struct holder holder;

	row(&holder, sk);
	holder.uid = uid;
	adopt(sk, &holder, holder.kernel ? ORIGIN_KERNEL : ORIGIN_ORPHAN);
	bpf_seq_write(seq, &holder, sizeof(holder));
	return 0;
}

SEC("iter/tcp") int list_tcp(struct bpf_iter__tcp *context)
{
	struct sock_common *common = context->sk_common;
	struct sock *sk;

	if (!common)
		return 0;
	sk = (struct sock *)bpf_skc_to_tcp_sock(common); /* neither a request nor one that waits out its time */
	return sk ? list(context->meta->seq, sk, context->uid) : 0;
}

SEC("iter/udp") int list_udp(struct bpf_iter__udp *context)
{
	struct sock *sk = (struct sock *)context->udp_sk;

	return sk ? list(context->meta->seq, sk, context->uid) : 0;
}
