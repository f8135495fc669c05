"""Real transfers of FTP and TFTP: what the control connection or the request announced is named, and nothing else."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.containers import Container, contained
from tests.e2e.netns import Pair, wait_for
from tests.e2e.scrape import Scrape
from tests.e2e.servers import Servers

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw, pytest.mark.bpf]

FTP = 2021
ELSEWHERE = "203.0.113.9"
"""What the server says of itself, as one behind a translation does. Clients know better, and so must we."""
VSFTPD = f"""
background=NO
listen_ipv6=YES
listen_port={FTP}
anonymous_enable=YES
no_anon_password=YES
anon_root={{root}}
write_enable=YES
anon_upload_enable=YES
secure_chroot_dir={{empty}}
connect_from_port_20=YES
pasv_address={ELSEWHERE}
seccomp_sandbox=NO
xferlog_enable=NO
"""
FILES = {"large": 300_000, "byte": 1, "empty": 0}
CURL = ("curl", "-sSf", "--noproxy", "*", "--max-time", "20")
PASSIVE4, PASSIVE6 = f"ftp://{Pair.there4}:{FTP}", f"ftp://[{Pair.there6}]:{FTP}"
TFTP = f"tftp://{Pair.there4}"
TRANSFERS = {
    "EPSV": (f"{PASSIVE4}/large",),
    "EPSV over IPv6": (f"{PASSIVE6}/large",),
    "PASV": (f"{PASSIVE4}/large", "--disable-epsv"),
    "EPRT": (f"{PASSIVE4}/large", "--ftp-port", "-"),
    "EPRT over IPv6": (f"{PASSIVE6}/large", "--ftp-port", "-"),
    "PORT": (f"{PASSIVE4}/large", "--ftp-port", "-", "--disable-eprt"),
    "a list": (f"{PASSIVE4}/",),
    "a byte": (f"{PASSIVE4}/byte",),
    "nothing": (f"{PASSIVE4}/empty",),
    "upload": (f"{PASSIVE4}/incoming/", "--upload-file", "large"),
}
LARGE = 7
"""Of them move `large`."""
REQUESTS = {
    "options": (f"{TFTP}/large",),
    "no options": (f"{TFTP}/large", "--tftp-no-options"),
    "a byte": (f"{TFTP}/byte", "--tftp-no-options"),
    "a large block": (f"{TFTP}/byte", "--tftp-blksize", "1400"),
    "no such file": (f"{TFTP}/missing",),
}
MISSING = 68
"""curl: TFTP file not found."""
CAPTURED = ("--capture.source", "pcap", "--workers", "2")
OPENED = {
    ("ftp", "tcp"): len(TRANSFERS),
    ("ftp_data", "tcp"): len(TRANSFERS),
    ("tftp", "udp"): 2 * len(REQUESTS),  # each goes on from another port of the server
}


def folders(servers: Servers) -> tuple[Path, Path]:
    """Make what is served, and an empty folder."""
    root, empty = servers.folder("files"), servers.folder("empty")
    for name, size in FILES.items():
        (root / name).write_bytes(os.urandom(size))
    incoming = root / "incoming"
    incoming.mkdir()
    shutil.chown(incoming, "ftp")
    return root, empty


def serve(there: Container, public: Path, tool: Callable[[str], str]) -> Path:
    """Start vsftpd, and dnsmasq for TFTP; give the folder that both serve."""
    servers = Servers(there, public, tool)
    root, empty = folders(servers)
    config = servers.root / "vsftpd.conf"
    config.write_text(VSFTPD.format(root=root, empty=empty))
    there.start(tool("vsftpd"), config)
    there.start(
        *(tool("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"),
        *("--pid-file=", "--enable-tftp", f"--tftp-root={root}"),
    )
    wait_for("vsftpd listens", lambda: there.connects(Pair.there4, FTP))
    wait_for("dnsmasq listens", lambda: ":69 " in there.run("ss", "-Hlnu").stdout)
    return root


def opened(scrape: Scrape, **chosen: str) -> dict[tuple[str, ...], int]:
    """Connections by protocol and transport."""
    found = scrape.by("netproc_connections_opened_total", "protocol", "transport", **chosen)
    return {key: count for key, count in found.items() if key[1] in ("tcp", "udp")}


def transfer(here: Container, folder: Path) -> None:
    """Run every client to its end, one after the other."""
    for what, (url, *flags) in TRANSFERS.items():
        out = () if "upload" in what else ("-o", folder / "got")
        here.run(*CURL, *flags, *out, url, cwd=folder)
    for url, *flags in REQUESTS.values():
        done = here.run(*CURL, *flags, "-o", folder / "got", url, check=False)
        assert done.returncode == (MISSING if "missing" in url else 0), done.stderr


@pytest.mark.parametrize("source", ["pcap", "ebpf"])
def test_what_was_announced_is_named(
    *, pair: Pair, public: Path, tool: Callable[[str], str], on_veth: Start, of_sockets: Start, source: str
) -> None:
    """Each data connection and each transfer, whatever it carries, at both its ends."""
    with contained(pair.here, pair.there) as cells:
        folder = serve(cells[1], public, tool)
        exporter = on_veth(*CAPTURED) if source == "pcap" else of_sockets(pair.here)
        transfer(cells[0], folder)
        # The kernel counts for all of the machine; a capture need not find whose these short connections were.
        each = [{"container": cell.label} for cell in cells] if source == "ebpf" else [{}]
        ends = len(cells) // len(each)
        want = {what: ends * count for what, count in OPENED.items()}

        def found() -> list[dict[tuple[str, ...], int]]:
            scrape = exporter.scrape()
            return [opened(scrape, **one) for one in each]

        def named() -> bool:
            return found() == [want] * len(each)

        wait_for(f"connections {want}", named, 10, every=0.5, says=lambda: repr(found()))
        scrape = exporter.scrape()
        for one in each:
            moved = scrape.bytes_by("protocol", **one)
            assert 1 < moved["ftp_data",] / (ends * LARGE * FILES["large"]) < 1.1
            assert 1 < moved["tftp",] / (ends * 2 * FILES["large"]) < 1.2
        assert not scrape.sum("netproc_dissector_faults_total")
