"""What each process may still do once it has opened what it needs: user, capabilities, files, system calls.

| role | capabilities | files (Landlock) | sockets that it may open (seccomp) |
|---|---|---|---|
| worker | NET_RAW | reads the installation, /etc, /proc, /sys | AF_PACKET; connects to nobody |
| identity | SYS_PTRACE, DAC_READ_SEARCH | all: Landlock would hide /proc/<pid>/fd | AF_NETLINK, AF_UNIX |
| exporter | none | as the worker, and the configured paths | AF_INET, AF_INET6, AF_UNIX, AF_NETLINK |

What fails is returned as (component, reason), both of few words, because they become labels; with `strict` it is an
error. /proc is allowed whole: its directories of processes are new inodes after memory pressure, and a rule for
/proc/self would be lost with them; Landlock itself keeps other processes' memory, descriptors and environment closed.
"""

import errno
import os
import pwd
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from exporter.app import kernel, landlock, seccomp
from exporter.app.kernel import PR
from exporter.errors import ConfigError, UserError

__all__ = [
    "NO_PRIVILEGE",
    "ROLES",
    "Degraded",
    "enter",
    "explain",
    "missing",
    "resolve_user",
    "restrict_supervisor",
]

Degraded = tuple[str, str]
"""(component, reason), as `netproc_degraded_info` shows them."""


class Process(Protocol):
    """Section `process` of the configuration."""

    @property
    def user(self) -> str: ...
    @property
    def sandbox(self) -> str: ...


class Web(Protocol):
    """Section `web`."""

    @property
    def config_file(self) -> str: ...


class Config(Protocol):
    """What is read of the configuration, whose own module loads more than the standard library."""

    @property
    def process(self) -> Process: ...
    @property
    def web(self) -> Web: ...


class Policy(NamedTuple):
    """What a role keeps."""

    capabilities: frozenset[str]
    sockets: seccomp.Sockets
    landlock: bool


AF_NETLINK, AF_PACKET = 16, 17  # by number: type stubs know them on Linux only
WEB = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, AF_NETLINK)
ROLES = {
    "worker": Policy(frozenset({"NET_RAW"}), seccomp.Sockets((AF_PACKET,), mute=True), landlock=True),
    "identity": Policy(
        frozenset({"SYS_PTRACE", "DAC_READ_SEARCH"}),
        seccomp.Sockets((AF_NETLINK, socket.AF_UNIX), mute=False),
        landlock=False,
    ),
    "exporter": Policy(frozenset(), seccomp.Sockets(WEB, mute=False), landlock=True),
}
SUPERVISOR = frozenset({"NET_RAW", "SYS_PTRACE", "DAC_READ_SEARCH", "SETUID", "SETGID", "SETPCAP", "KILL"})
"""What children need, and what it takes to change their user and to stop them afterwards (KILL)."""

NO_PRIVILEGE = (
    "no privilege to capture packets: run as root, or grant the capability NET_RAW "
    "(systemd: AmbientCapabilities=CAP_NET_RAW CAP_SYS_PTRACE CAP_DAC_READ_SEARCH; "
    "Kubernetes: runAsUser: 0 and securityContext.capabilities.add)"
)
NOBODY = 65534
READABLE = ("/etc", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share", "/usr/local/lib")
DEVICES = ("/dev/urandom", "/dev/random", "/proc", "/sys", "/run/systemd/resolve")

WORDS = {
    "not_root": "not started as root, so all processes keep its user",
    "kept_root": "configured to stay root",
    "no_setuid": "the capabilities SETUID and SETGID are missing, so the user cannot be changed",
    "no_such_id": "the user is not known in this user namespace",
    "unreadable_installation": "the user cannot read the directory that the program is installed in",
    "no_setpcap": "the capability SETPCAP is missing, so the bounding set stays as it is",
    "unsupported": "the kernel does not offer it",
    "refused": "the kernel refused it",
}


def explain(degraded: Iterable[Degraded]) -> str:
    return "; ".join(f"{component}: {WORDS.get(reason, reason)}" for component, reason in degraded)


def resolve_user(name: str) -> tuple[int, int]:
    """Give uid and gid; `nobody` and numbers need no user database."""
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        if name.isdecimal():
            return int(name), int(name)
        if name == "nobody":
            return NOBODY, NOBODY
        raise ConfigError(
            f"process.user: there is no user {name!r}; give a name of /etc/passwd or a number"
        ) from None
    return entry.pw_uid, entry.pw_gid


def _installation() -> list[str]:
    """Directories that late imports read."""
    places = {
        sys.prefix,
        sys.base_prefix,
        str(Path(__file__).parents[1]),
        str(Path(os.__file__).parent),
        *sys.path,
    }
    return sorted(p for p in places if p and Path(p).is_dir())


def _can_read_installation(uid: int, gid: int) -> bool:
    """Look with the user's own eyes: ask the kernel, who knows ACLs and mounts."""
    os.setegid(gid)
    os.seteuid(uid)
    try:
        for place in _installation():
            with os.scandir(place):
                pass
    except OSError:
        return False
    finally:
        os.seteuid(0)
        os.setegid(0)
    return True


def _user(config: Config) -> tuple[int, int] | str:
    """Decide whom to become, or why not."""
    if os.geteuid() != 0:
        return "not_root"
    uid, gid = resolve_user(config.process.user)
    if uid == 0:
        return "kept_root"
    if not {"SETUID", "SETGID"} <= kernel.held():
        return "no_setuid"
    try:
        return (uid, gid) if _can_read_installation(uid, gid) else "unreadable_installation"
    except OSError as error:
        return "no_such_id" if error.errno == errno.EINVAL else "refused"


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _attempt(
    component: str, step: Callable[[], None], found: list[Degraded], reason: str = "refused"
) -> None:
    try:
        step()
    except OSError:
        found.append((component, reason))


def _bound(keep: Iterable[str]) -> None:
    """Make sure that no exec gives anything back, and that uid 0 means nothing any more."""
    kernel.restrict(keep)
    kernel.prctl(PR.SET_SECUREBITS, kernel.ROOT_GIVES_NOTHING)


def _privileges(policy: Policy, user: tuple[int, int] | str, found: list[Degraded]) -> None:
    """Change the user and keep the role's capabilities alone."""
    kernel.prctl(PR.SET_KEEPCAPS, 1)
    if os.geteuid() == 0:
        _attempt("capabilities", lambda: _bound(policy.capabilities), found, "no_setpcap")
    if isinstance(user, str):
        found.append(("user", user))
    else:
        _become(*user)
    kernel.prctl(PR.CAP_AMBIENT, PR.CAP_AMBIENT_CLEAR_ALL)
    kernel.limit(policy.capabilities)


def _restrict(policy: Policy, config: Config, readable: Sequence[str]) -> list[Degraded]:
    """Take the steps in the order in which each still leaves the next one possible."""
    found: list[Degraded] = []
    user = _user(config)
    kernel.prctl(PR.SET_NO_NEW_PRIVS, 1)
    if policy.landlock:
        places = [*_installation(), *READABLE, *DEVICES, *readable]
        reason = "refused" if landlock.abi() else "unsupported"
        _attempt("landlock", lambda: landlock.restrict_files(places), found, reason)
    _privileges(policy, user, found)
    reason = "refused" if seccomp.supported() else "unsupported"
    _attempt("seccomp", lambda: seccomp.install(policy.sockets), found, reason)
    return found


def _configured(config: Config) -> list[str]:
    """Directories, not files: what is replaced by a rename must stay readable."""
    return [str(Path(config.web.config_file).resolve().parent)] if config.web.config_file else []


def _die_with_parent(lifeline: int) -> None:
    """Ask the kernel for SIGKILL at the supervisor's death; it may have died before we asked."""
    kernel.prctl(PR.SET_PDEATHSIG, signal.SIGKILL)
    if lifeline >= 0 and select.select([lifeline], [], [], 0)[0]:
        os._exit(0)


def enter(role: str, config: Config, lifeline: int = -1, readable: Sequence[str] = ()) -> list[Degraded]:
    """Restrict this process for good and tell what could not be done; to be called in its only thread.

    `lifeline` is the descriptor that ends when the supervisor does; `readable` are further paths that the role reads.
    """
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208  (only the number matters)
        raise RuntimeError("the sandbox holds for one thread, and there are more")
    policy = ROLES[role]
    lacking = policy.capabilities - kernel.held()
    if "NET_RAW" in lacking:
        raise UserError(NO_PRIVILEGE)
    found: list[Degraded] = []
    if config.process.sandbox != "off":
        found = _restrict(policy, config, [*_configured(config), *readable])
    if found and config.process.sandbox == "strict":
        raise UserError(f"process.sandbox is strict, but {explain(found)}")
    _die_with_parent(lifeline)
    return found + [(role, f"no_{name.lower()}") for name in sorted(lacking)]


def missing() -> list[Degraded]:
    """Foretell what `enter` will find, without changing anything."""
    found: list[Degraded] = []
    if os.geteuid() != 0:
        found.append(("user", "not_root"))
    elif not {"SETUID", "SETGID"} <= kernel.held():
        found.append(("user", "no_setuid"))
    elif "SETPCAP" not in kernel.held():
        found.append(("capabilities", "no_setpcap"))
    if not landlock.abi():
        found.append(("landlock", "unsupported"))
    if not seccomp.supported():
        found.append(("seccomp", "unsupported"))
    return found


def restrict_supervisor() -> None:
    """Keep what children need; called when everything is opened. What cannot be dropped, the children report."""
    kernel.prctl(PR.SET_NO_NEW_PRIVS, 1)
    if os.geteuid() == 0:
        _attempt("capabilities", lambda: kernel.restrict(SUPERVISOR), [])
    kernel.limit(SUPERVISOR)
    if os.geteuid() != 0:
        _attempt("capabilities", lambda: kernel.raise_ambient(SUPERVISOR), [])
