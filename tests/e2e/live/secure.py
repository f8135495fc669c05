"""What is encrypted from its first packets on: QUIC between two ends of aioquic, and OpenSSH."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from tests.e2e.live.place import ADDRESS, Case, Place
from tests.e2e.live.web import certificate
from tests.e2e.netns import wait_for

QUIC, SSH = 18445, 18022
END = Path(__file__).with_name("quic_end.py")
TIMES = 3
PYTHON = Path(sys.executable).resolve().name


def python(place: Place, *arguments: str | Path) -> tuple[str | Path, ...]:
    """Give the command of a Python whose executable has a name of its own, with the packages of this one."""
    packages = sysconfig.get_paths()["purelib"]
    environment = ("env", f"PYTHONHOME={sys.base_prefix}", f"PYTHONPATH={packages}")
    program = place.public / f"{PYTHON}-{os.getpid()}"
    if not program.exists():
        shutil.copy(Path(sys.executable).resolve(), program)
    return (*environment, program, *arguments)


def quic(place: Place) -> None:
    folder = place.folder("quic")
    key, signed = certificate(place, str(folder))
    place.start(*python(place, END, "serve", str(QUIC), signed, key, folder / "ready"))
    wait_for("a server of QUIC", (folder / "ready").exists, 10, says=place.said)


def echoes(place: Place) -> None:
    """Some connections, each with something said and said back."""
    place.run(*python(place, END, "ask", ADDRESS, str(QUIC), str(TIMES)))


class Keys:
    """Where the key is that OpenSSH's server lets in."""

    user: Path


def sshd(place: Place) -> None:
    Keys.user = place.servers.sshd(SSH)


def ssh(place: Place) -> None:
    """Two sessions."""
    options = (
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "IdentityAgent=none",
    )
    flags = [flag for option in options for flag in ("-o", option)]
    for _ in range(2):
        place.run("ssh", "-F", "none", "-i", Keys.user, "-p", str(SSH), *flags, f"root@{ADDRESS}", "true")


OVER_QUIC = Case(
    "QUIC",
    "quic",
    PYTHON,
    quic,
    echoes,
    versions={("quic", "1"): TIMES},
    handshakes={"quic": TIMES},
    named=(PYTHON,),
)
CASES = [
    OVER_QUIC,
    Case("OpenSSH", "ssh", "sshd", sshd, ssh, versions={("ssh", "2.0"): 2}),
]
