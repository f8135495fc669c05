#!/usr/bin/env bash
# Installs what the tests use beside what running needs: real servers, clients and tools. Quick when done already.
set -euo pipefail
. "$(dirname "$0")/common.sh"

"$root/tools/setup-run.sh"
lock_setup
stamped test && exit 0
install_packages \
    bind9-dnsutils bpftool ca-certificates clang curl dnsmasq-base ethtool git iperf3 iproute2 iputils-ping libbpf-dev libcap2-bin \
    gunicorn python3-setproctitle linux-libc-dev llvm mmdebstrap mount netcat-openbsd nftables tcpreplay \
    nginx-light openssh-client openssh-server openssl postgresql procps prometheus socat tcpdump util-linux \
    amqp-tools avahi-daemon busybox chrony dovecot-imapd dovecot-pop3d exim4-daemon-light libmemcached-tools \
    mariadb-client mariadb-server memcached mosquitto mosquitto-clients rabbitmq-server redis-server samba \
    samba-common-bin snmp snmpd vsftpd
install_python '[dev,otel]'
write_stamp test
say "done"
