"""What each role can still do after `sandbox.enter`, tried in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exporter.app import seccomp
from exporter.app.kernel import CAPABILITIES
from exporter.app.user import choose, resolve_user
from exporter.config import Config, Process
from exporter.errors import ConfigError

pytestmark = [pytest.mark.root, pytest.mark.net_raw]

BECOMES = choose("nobody") if os.geteuid() == 0 else "not_root"
UID = BECOMES[0] if isinstance(BECOMES, tuple) else 0
USUAL = [] if isinstance(BECOMES, tuple) else [["user", BECOMES]]
"""A checkout that `nobody` cannot read, as below /root, leaves the children root; the rest holds all the same."""

PROBE = """
import ctypes, json, os, signal, socket, sys
from pathlib import Path
from exporter.app import sandbox
from exporter.config import Config, Process
from exporter.errors import UserError
import pcap

def attempt(action, *words):
    try:
        result = action(*words)
        if isinstance(result, socket.socket):
            result.close()
        return "ok"
    except OSError as error:
        return error.strerror

def status():
    lines = Path("/proc/self/status").read_text().splitlines()
    return dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)

pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
other = int(sys.argv[2])
try:
    degraded = sandbox.enter(sys.argv[1], Config(process=Process(**json.loads(sys.argv[3]))), readable=sys.argv[4:])
except UserError as error:
    sys.exit(str(error))
found = {"degraded": degraded, "status": status(), "groups": os.getgroups(), "uids": os.getresuid()}
families = {"inet": (2, 1), "inet6": (10, 2), "unix": (1, 1), "packet": (17, 3), "netlink": (16, 3), "vsock": (40, 1)}
found["socket"] = {name: attempt(socket.socket, *kind) for name, kind in families.items()}
"""


def probe(
    role: str, code: str, *readable: str, prefix: tuple[str, ...] = (), first: str = "", **process: str
) -> dict[str, Any]:
    """Run `first`, enter as this role, run the code, and give what it found."""
    with subprocess.Popen(["sleep", "60"], user=1234, group=1234, extra_groups=[]) as other:
        try:
            words = [role, str(other.pid), json.dumps(process), *readable]
            done = subprocess.run(
                [*prefix, sys.executable, "-Pc", f"{first}{PROBE}\n{code}\nprint(json.dumps(found))", *words],
                capture_output=True, text=True, check=False, timeout=30,
            )  # fmt: skip
        finally:
            other.kill()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def capabilities(*names: str) -> str:
    return f"{sum(1 << CAPABILITIES[name] for name in names):016x}"


NONE = "Address family not supported by protocol"
KEEPS = {
    "worker": ("NET_RAW",),
    "worker_ebpf": (),
    "identity": ("SYS_PTRACE", "DAC_READ_SEARCH"),
    "exporter": (),
}
OPENS = {
    "worker": {"packet"},
    "worker_offload": {"packet"},
    "worker_ebpf": set(),
    "identity": {"netlink", "unix"},
    "exporter": {"inet", "inet6", "unix", "netlink"},
}


@pytest.mark.parametrize("role", KEEPS)
def test_capabilities_user_and_sockets(role: str) -> None:
    found = probe(role, "")
    expected = capabilities(*KEEPS[role])
    status = found["status"]
    assert [status[k] for k in ("CapPrm", "CapEff", "CapBnd")] == [expected] * 3
    assert [status[k] for k in ("CapInh", "CapAmb")] == [capabilities()] * 2
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert found["uids"] == [UID] * 3
    assert found["groups"] == [] or USUAL
    assert found["degraded"] == USUAL
    assert found["socket"] == {name: "ok" if name in OPENS[role] else NONE for name in found["socket"]}


@pytest.mark.parametrize("role", KEEPS)
def test_what_no_role_may(role: str) -> None:
    found = probe(
        role,
        """
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *words):
    result = getattr(libc, name)(*words)
    return "ok" if result >= 0 else os.strerror(ctypes.get_errno())
found["refused"] = {
    "fork": attempt(os.fork),
    "exec": attempt(os.execv, "/bin/true", ["true"]),
    "kill": attempt(os.kill, other, 0),
    "setuid": attempt(os.setuid, 0),
    "setgroups": attempt(os.setgroups, [0]),
    "ptrace": call("ptrace", 16, other, 0, 0),
    "unshare": call("unshare", 0x10000000),
    "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "bpf": call("syscall", 321 if os.uname().machine == "x86_64" else 280, 0, None, 0),
    "tiocsti": call("ioctl", 0, 0x5412, b"x"),
}
import threading
thread = threading.Thread(target=lambda: found.update(thread=True))
thread.start()
thread.join()
found["abort"] = attempt(signal.raise_signal, signal.SIGCONT)
""",
    )
    assert set(found["refused"].values()) == {"Operation not permitted"}, found["refused"]
    assert found["thread"] is True
    assert found["abort"] == "ok"


FILES = """
places = ("/root", "/home", "/var", "/etc", "/usr/share", sys.prefix)
found["files"] = {path: attempt(os.listdir, path) for path in places}
found["files"]["/dev/null"] = attempt(lambda: open("/dev/null", "r+b", buffering=0).close())
found["files"]["net/dev"] = attempt(lambda: open("/proc/self/net/dev").close())
found["files"]["sys"] = attempt(os.listdir, "/sys/class/net/lo/")
found["files"]["cmdline"] = attempt(lambda: open(f"/proc/{other}/cmdline").close())
found["files"]["environ"] = attempt(lambda: open(f"/proc/{other}/environ").close())
found["files"]["fd"] = attempt(lambda: os.readlink(f"/proc/{other}/fd/0"))
mine = f"/tmp/netproc-sandbox-{os.getpid()}"
found["files"]["tmp"] = attempt(lambda: (open(mine, "w").close(), os.unlink(mine)))
found["files"]["given"] = [attempt(os.listdir, path) for path in sys.argv[4:]]
import xml.sax.handler, plistlib
"""


@pytest.mark.parametrize("role", ["worker", "worker_ebpf", "exporter"])
def test_files_under_landlock(role: str) -> None:
    found = probe(role, FILES, "/srv")["files"]
    assert {found[p] for p in ("/root", "/home", "/var", "tmp", "fd", "environ")} == {"Permission denied"}
    assert {found[p] for p in ("/etc", "/usr/share", sys.prefix, "/dev/null", "net/dev", "sys")} == {"ok"}
    assert found["given"] == ["ok"]


def test_identity_reads_descriptors_of_other_users() -> None:
    found = probe("identity", FILES)["files"]
    assert found["fd"] == "ok"
    assert found["cmdline"] == "ok"
    assert found["tmp"] == "ok"  # no Landlock: only the user protects files


def test_identity_without_its_capabilities_says_so() -> None:
    found = probe("identity", FILES, prefix=("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all"))
    assert found["degraded"] == [*USUAL, ["identity", "no_sys_ptrace"]]
    assert found["files"]["fd"] == "Permission denied"


def test_the_worker_opens_captures_afterwards() -> None:
    found = probe(
        "worker",
        """
handle = pcap.pcap(name="lo", promisc=False, snaplen=16384, timeout_ms=10, immediate=True, buffer_size=1 << 20)
handle.setnonblock()
handle.setfilter("tcp port 80 or udp")
found["link"] = handle.datalink()
found["missing"] = attempt(lambda: pcap.pcap(name="nosuchif0", promisc=False))
""",
    )
    assert found["link"] == 1
    assert "missing" in found


def test_the_worker_speaks_on_what_it_was_given_and_to_nobody_else() -> None:
    found = probe(
        "worker",
        """
pair[0].send(b"x")
found["received"] = pair[1].recv(10).decode()
libc = ctypes.CDLL(None, use_errno=True)
raw = libc.socket(1, 3, 0)  # what libpcap opens to ask interfaces
found["raw"] = raw >= 0
unix = socket.socket(fileno=raw)
found["talk"] = {
    "sendto": attempt(unix.sendto, b"x", "/dev/log"),
    "connect": attempt(unix.connect, "/dev/log"),
    "sendmsg": attempt(pair[0].sendmsg, [b"x"]),
}
""",
    )
    assert found["received"] == "x"
    assert found["raw"] is True
    assert set(found["talk"].values()) == {"Operation not permitted"}


MAP_CALLS = """
from exporter.ebpf import maps
from exporter.ebpf.libbpf import BpfError, library
def tried(action, *words):
    try:
        return str(action(*words))
    except BpfError as error:
        return os.strerror(error.code)
libc = ctypes.CDLL(None, use_errno=True)
number = 321 if os.uname().machine == "x86_64" else 280
def command(which):
    attributes = (ctypes.c_uint32 * 32)()
    libc.syscall(number, which, ctypes.byref(attributes), 128)
    return os.strerror(ctypes.get_errno())
key, value = bytes(4), b"netp" * 2
found["map"] = {
    "update": tried(maps.update, given, key, value),
    "lookup": tried(maps.lookup, given, key, 8),
    "batches": tried(lambda: list(maps.batches(given, 4, 8))),
    "remove": tried(maps.remove, given, key, 1),
    "create": tried(maps.create, 1, "more", (4, 8, 1)),
    "wait": str(maps.grace()),
}
allowed = {1, 2, 3, 24, 27}
found["others"] = sorted({command(n) for n in range(40) if n not in allowed})
"""


@pytest.mark.bpf
def test_the_worker_of_the_kernel_s_side_uses_maps_that_it_was_given_and_nothing_else() -> None:
    """As with unprivileged bpf() forbidden: what is open is enough (Linux 5.19)."""
    made = 'given = __import__("exporter.ebpf.maps").ebpf.maps.create(1, "given", (4, 8, 16))\n'
    found = probe("worker_ebpf", MAP_CALLS, first=made)
    assert found["map"] == {
        "update": "None",
        "lookup": "b'netpnetp'",
        "batches": "[(b'\\x00\\x00\\x00\\x00', b'netpnetp')]",
        "remove": "None",
        "create": "Operation not permitted",
        "wait": "True",
    }
    assert found["others"] == ["Operation not permitted"]
    found = probe("worker", MAP_CALLS, first=made)
    assert {found["map"][what] for what in ("update", "lookup", "batches", "remove")} == {
        "Operation not permitted"
    }


def test_the_exporter_binds_and_connects_nowhere() -> None:
    found = probe(
        "exporter",
        """
end = socket.socket()
found["bind"] = attempt(end.bind, ("127.0.0.1", 0))
found["connect"] = attempt(end.connect, ("127.0.0.1", 9))
""",
    )
    assert (found["bind"], found["connect"]) == ("Permission denied", "Permission denied")


@pytest.mark.parametrize(
    ("prefix", "degraded"),
    [
        (("setpriv", "--bounding-set=-setuid", "--inh-caps=-all"), [["user", "no_setuid"]]),
        (("setpriv", "--bounding-set=-setpcap", "--inh-caps=-all"), [["capabilities", "no_setpcap"]]),
    ],
)
def test_what_cannot_be_done_is_a_reason(prefix: tuple[str, ...], degraded: list[list[str]]) -> None:
    found = probe("worker", "", prefix=prefix)
    assert found["degraded"] in (degraded, degraded + USUAL)
    assert found["status"]["CapEff"] == capabilities("NET_RAW")
    assert found["socket"]["packet"] == "ok"


@pytest.mark.skipif(bool(USUAL), reason="no other user can read this checkout")
def test_a_user_with_the_capability_needs_no_root() -> None:
    ambient = ("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "--inh-caps=-all,+net_raw",
               "--ambient-caps=-all,+net_raw")  # fmt: skip
    found = probe("worker", "", prefix=ambient)
    assert found["degraded"] == [["user", "not_root"]]
    assert found["uids"] == [1234] * 3
    assert found["status"]["CapEff"] == capabilities("NET_RAW")
    assert found["status"]["CapAmb"] == capabilities()


def test_a_number_needs_no_user_database() -> None:
    assert probe("worker", "", user="54321")["uids"] == [54321 if UID else 0] * 3


def test_strict_refuses_in_one_line() -> None:
    with pytest.raises(
        AssertionError, match=r"^process.sandbox is strict, but user: the capabilities SETUID and"
    ):
        probe("worker", "", prefix=("setpriv", "--bounding-set=-setuid", "--inh-caps=-all"), sandbox="strict")


def test_off_changes_nothing() -> None:
    found = probe("worker", "", sandbox="off")
    assert found["uids"] == [0] * 3
    assert (found["status"]["NoNewPrivs"], found["status"]["Seccomp"]) == ("0", "0")


def test_without_net_raw_a_worker_does_not_start_unless_the_kernel_counts() -> None:
    found = probe("worker_ebpf", "", prefix=("setpriv", "--bounding-set=-net_raw", "--inh-caps=-all"))
    assert found["degraded"] == USUAL
    with pytest.raises(AssertionError, match=r"^no privilege to capture packets: run as root, or grant"):
        probe("worker", "", prefix=("setpriv", "--bounding-set=-net_raw", "--inh-caps=-all"))


def test_an_installation_that_the_user_cannot_read_keeps_root(tmp_path: Path) -> None:
    """As below /root: late imports would fail. Root without capabilities, under Landlock and seccomp, remains."""
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    code = """
import os, sys
sys.path.append(sys.argv[1])
from exporter.app import user
print(user.choose('nobody'), os.geteuid())
"""
    words = [sys.executable, "-Pc", code, str(closed / "inner")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "unreadable_installation 0\n"


def test_threads_are_refused() -> None:
    code = "import threading, time; from exporter.app import sandbox; from exporter.config import Config\n"
    code += "threading.Thread(target=time.sleep, args=(5,), daemon=True).start(); sandbox.enter('worker', Config())"
    done = subprocess.run([sys.executable, "-Pc", code], capture_output=True, text=True, check=False)
    assert "RuntimeError: the sandbox holds for one thread" in done.stderr


def test_users() -> None:
    assert resolve_user("nobody") == (65534, 65534)
    assert resolve_user("0") == (0, 0)
    assert resolve_user("54321") == (54321, 54321)
    with pytest.raises(ConfigError, match="there is no user 'no one'"):
        resolve_user("no one")
    assert Process().user == Config().process.user == "nobody"


@pytest.mark.parametrize(
    ("column", "header"),
    [(0, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), (1, "/usr/include/asm-generic/unistd.h")],
)
def test_call_numbers_are_the_kernels(column: int, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"no {header} (linux-libc-dev)")
    lines = [
        line.split() for line in Path(header).read_text().splitlines() if line.startswith("#define __NR")
    ]
    numbers = {
        words[1].removeprefix("__NR_").removeprefix("__NR3264_"): words[2]
        for words in lines
        if len(words) > 2
    }
    for name, known in (seccomp.DENIED | seccomp.SPECIAL).items():
        assert numbers.get(name, str(known[column])) == str(known[column]), name
        assert known[column] is None or name in numbers, name


@pytest.mark.parametrize("arch", seccomp.ARCHITECTURES)
@pytest.mark.parametrize("mute", [True, False])
@pytest.mark.parametrize("families", [(17,), ()])
def test_every_path_of_the_filter_ends_in_an_answer(arch: str, mute: bool, families: tuple[int, ...]) -> None:
    code = seccomp.program(arch, seccomp.Sockets(families, mute), 42, maps=not families)
    assert len(code) < 4096
    for index, (op, yes, no, _) in enumerate(code):
        if op in {seccomp.JUMP_EQUAL, seccomp.JUMP_LEAST, seccomp.JUMP_ANY_BIT}:
            assert index + 1 + max(yes, no) < len(code)
    assert code[-1][0] == seccomp.RETURN
