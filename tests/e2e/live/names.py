"""Names, addresses and time: dnsmasq (DNS, DHCP), chrony, net-snmp, avahi, Samba's nmbd."""

import os
import re
import signal
import time
from pathlib import Path

from tests.e2e.live.place import ADDRESS, NAME, Case, Did, Place
from tests.e2e.netns import Pair, wait_for

DNS, NTP, SNMP = 18053, 18123, 18161
DHCP, MDNS, NETBIOS = 67, 5353, 137

# ---------------------------------------------------------------- DNS


def dnsmasq(place: Place) -> None:
    place.servers.dnsmasq(DNS)


def dig(place: Place) -> None:
    """An address of each kind, a name that is refused; over UDP and TCP."""
    command = ("dig", f"@{ADDRESS}", "-p", str(DNS), "+tries=1", "+time=3")
    place.run(*command, NAME, "A")
    place.run(*command, NAME, "AAAA")
    place.run(*command, "none.example.org")
    place.run(*command, "+tcp", NAME)


# ---------------------------------------------------------------- DHCP

UDHCPC = """#!/bin/sh
case $1 in
bound) ip address add $ip/24 dev $interface ;;
deconfig) ip address flush dev $interface to 192.0.2.128/25 ;;
esac
echo $1 >> {folder}/said
"""
NOTICED = 2.0
"""Seconds after which a new address of ours is known."""
RANGE = "192.0.2.150,192.0.2.199,1h"


def dhcp(place: Place) -> None:
    folder = place.folder("dhcp")
    flags = ("--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--no-ping")
    lease = (f"--dhcp-range={RANGE}", f"--dhcp-leasefile={folder}/leases", "--dhcp-authoritative")
    place.start("dnsmasq", *flags, "--pid-file=", "--log-dhcp", "--log-facility=-", *lease)
    wait_for("a server of DHCP", lambda: "DHCP, IP range" in place.said(), 5, says=place.said)


def udhcpc(place: Place) -> None:
    """Get an address, renew it, release it."""
    folder = place.folder(f"udhcpc-{len(place.here.processes)}")
    script, said = folder / "script", folder / "said"
    script.write_text(UDHCPC.format(folder=folder))
    script.chmod(0o755)
    client = place.here.start(
        *(place.tool("busybox"), "udhcpc", "-f", "-i", Pair.interface, "-s", script, "-p", folder / "pid"),
        *("-t", "3", "-T", "1", "-n"),
    )
    wait_for("an address", lambda: heard(said, "bound"), 8)
    time.sleep(NOTICED)
    for number, word in ((signal.SIGUSR1, "renew"), (signal.SIGUSR2, "deconfig")):
        before = heard(said, word)
        os.kill(int((folder / "pid").read_text()), number)
        wait_for(word, lambda word=word, before=before: heard(said, word) > before, 8)
    client.terminate()
    client.wait(5)


def heard(said: Path, word: str) -> int:
    """So often the client has called its script so."""
    return said.read_text().count(word) if said.exists() else 0


# ---------------------------------------------------------------- NTP

CHRONY = """
port {port}
cmdport 0
bindcmdaddress {folder}/sock
pidfile {folder}/pid
user root
local stratum 5
allow
"""


def chronyd(place: Place) -> None:
    folder = place.folder("chrony")
    folder.chmod(0o770)
    (folder / "chrony.conf").write_text(CHRONY.format(port=NTP, folder=folder))
    place.start("chronyd", "-d", "-x", "-f", folder / "chrony.conf")
    wait_for("a server of NTP", (folder / "sock").exists, 5, says=place.said)


def answered(place: Place) -> int:
    """So many packets the server says it has received."""
    sock = place.servers.root / "chrony" / "sock"
    said = place.there.run(place.tool("chronyc"), "-h", sock, "serverstats").stdout
    return int(re.search(r"^NTP packets received *: *(\d+)$", said, re.MULTILINE)[1])


def clock(place: Place) -> Did:
    """Some questions in a row, each from a port of its own; only the server knows how many."""
    before = answered(place)
    server = f"server {ADDRESS} port {NTP} iburst maxsamples 2"
    quiet = ("cmdport 0", f"pidfile {place.servers.root}/chrony/client", "user root")
    place.run("chronyd", "-Q", "-t", "10", "-f", "/dev/null", server, *quiet)
    count = answered(place) - before
    assert count
    return Did({("client", "ok"): count}, {("ntp", "4"): count})


# ---------------------------------------------------------------- SNMP

SNMPD = """
agentAddress udp:{port}
agentXSocket {folder}/agentx
rocommunity public
createUser live SHA secretsecret AES secretsecret
rouser live priv
sysContact live@example.test
"""
SYSTEM = "1.3.6.1.2.1.1"


def snmpd(place: Place) -> None:
    folder = place.folder("snmp")
    config = folder / "snmpd.conf"
    config.write_text(SNMPD.format(port=SNMP, folder=folder))
    home = ("env", f"SNMP_PERSISTENT_DIR={folder}", "MIBS=")
    place.start(*home, place.tool("snmpd"), "-f", "-Lo", "-C", "-c", config, "-p", folder / "pid")
    wait_for("a server of SNMP", lambda: "NET-SNMP version" in place.said(), 5, says=place.said)


def snmp(place: Place) -> None:
    """Questions of each kind, one that is refused, and one of version 3."""
    where, plain = f"{ADDRESS}:{SNMP}", ("-m", "", "-r", "0", "-v2c", "-c", "public")
    place.run("snmpget", *plain, where, f"{SYSTEM}.4.0", f"{SYSTEM}.3.0")
    place.run("snmpget", "-v1", *plain[:4], "-c", "public", where, f"{SYSTEM}.99.0", check=False)
    place.run("snmpgetnext", *plain, where, SYSTEM)
    place.run("snmpbulkget", *plain, where, SYSTEM)
    place.run("snmpset", *plain, where, f"{SYSTEM}.4.0", "s", "x", check=False)
    private = ("-l", "authPriv", "-a", "SHA", "-A", "secretsecret", "-x", "AES", "-X", "secretsecret")
    place.run("snmpget", *plain[:4], "-v3", "-u", "live", *private, where, f"{SYSTEM}.4.0")


# ---------------------------------------------------------------- multicast DNS

AVAHI = f"""
[server]
host-name=live
domain-name=local
use-ipv4=yes
use-ipv6=no
allow-interfaces={Pair.interface}
enable-dbus=no
[publish]
publish-hinfo=no
publish-workstation=no
[rlimits]
"""
OWN_RUN = ("sh", "-ec", 'mount -t tmpfs none /run; mkdir /run/avahi-daemon; exec "$@"', "sh")
"""Its process number has one place for the whole machine."""


def avahi(place: Place) -> None:
    config = place.folder("avahi") / "avahi.conf"
    config.write_text(AVAHI)
    flags = ("--no-drop-root", "--no-chroot", "--no-rlimits", "-f", config)
    place.start(*OWN_RUN, place.tool("avahi-daemon"), *flags)
    wait_for("avahi is there", lambda: "Server startup complete" in place.said(), 10, says=place.said)


def multicast(place: Place) -> None:
    """Ask the responder itself, by name and by address: what goes to the group nobody need answer."""
    for question in (("live.local", "A"), ("-x", ADDRESS)):
        place.run("dig", f"@{ADDRESS}", "-p", str(MDNS), "+tries=1", "+time=3", *question)


# ---------------------------------------------------------------- NetBIOS

SMB = """
[global]
netbios name = LIVE
workgroup = TESTS
interfaces = {interface}
bind interfaces only = yes
disable netbios = no
log level = 1
lock directory = {folder}
state directory = {folder}
cache directory = {folder}
private dir = {folder}
pid directory = {folder}
ncalrpc dir = {folder}/ncalrpc
log file = {folder}/nmbd.log
"""


def nmbd(place: Place) -> None:
    folder = place.folder("samba")
    config = folder / "smb.conf"
    config.write_text(SMB.format(interface=Pair.interface, folder=folder))
    place.start("nmbd", "--foreground", "--no-process-group", "--debug-stdout", f"--configfile={config}")
    ask = ("nmblookup", f"--configfile={config}", "-U", ADDRESS, "LIVE")
    wait_for(
        "nmbd answers", lambda: "192.0.2.2" in place.there.run(*ask, check=False).stdout, 25, says=place.said
    )


def nmblookup(place: Place) -> None:
    """Whose name it is, whose it is not, and what names somebody has."""
    config: Path = place.servers.root / "samba" / "smb.conf"
    command = ("nmblookup", f"--configfile={config}")
    place.run(*command, "-U", ADDRESS, "LIVE")
    place.run(*command, "-U", ADDRESS, "LIVE#20")
    place.run(*command, "-A", ADDRESS)


CASES = [
    Case(
        "dnsmasq",
        "dns",
        "dnsmasq",
        dnsmasq,
        dig,
        {("query", "NOERROR"): 3, ("query", "REFUSED"): 1},
    ),
    Case(
        "DHCP",
        "dhcp",
        "dnsmasq",
        dhcp,
        udhcpc,
        {("request", "ack"): 1},
        # To who captures, the offer went to an address that was nobody's here; the renewal is the same flow.
        unseen=frozenset({("pcap", "client")}),
    ),
    Case("chrony", "ntp", "chronyd", chronyd, clock),
    Case(
        "net-snmp",
        "snmp",
        "snmpd",
        snmpd,
        snmp,
        {
            ("get-request", "noError"): 1,
            ("get-request", "noSuchName"): 1,
            ("get-next-request", "noError"): 1,
            ("get-bulk-request", "noError"): 1,
            ("set-request", "noAccess"): 1,
            ("get-request", "unknownEngineID"): 1,
            ("encrypted", "other"): 1,
        },
        {("snmp", "v2c"): 4, ("snmp", "v1"): 1, ("snmp", "v3"): 1},
    ),
    Case("avahi", "mdns", "avahi-daemon", avahi, multicast, {("query", "NOERROR"): 2}),
    Case("nmbd", "netbios", "nmbd", nmbd, nmblookup, {("query", "ok"): 2, ("status", "ok"): 1}),
]
