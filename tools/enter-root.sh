#!/usr/bin/env bash
# Makes a folder the root of this process and runs a script in it, as on a machine of its own. For fresh-root.sh.
#
#   unshare --mount --propagation private tools/enter-root.sh ROOT CORPUS WHERE SCRIPT
#
# CORPUS is seen, read-only, at WHERE in the root. All mounts made here end with the last process that sees them.
#
# A chroot is not enough: the kernel lets a process in one make no user namespace, and lets nobody change how mounts
# spread where / is no mount. So the root becomes a mount, and takes the old root's place as at the end of an initramfs.
set -euo pipefail
new=$1 corpus=$2 where=$3 script=$4

mount --bind "$new" "$new"
mount -t proc proc "$new/proc"
mount --rbind /sys "$new/sys" # cgroups, tracefs ... wherever this machine has them
if [ -d "$new/sys/fs/bpf" ]; then mount -t bpf bpf "$new/sys/fs/bpf"; fi
mount --rbind /dev "$new/dev"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$new/dev/pts"
for each in dev/shm run tmp; do
    mkdir -p "$new/$each"
    mount -t tmpfs -o "mode=$([ "$each" = run ] && echo 755 || echo 1777)" tmpfs "$new/$each"
done
if [ -d "$corpus" ]; then
    mkdir -p "$new/$where"
    mount --bind "$corpus" "$new/$where"
    mount -o remount,bind,ro "$new/$where"
fi

cd "$new"
mount --move . /
exec chroot . /bin/bash -euc "$script"
