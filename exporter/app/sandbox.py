"""What each process may still do once it has opened what it needs: user, capabilities, files, system calls.

| role | capabilities | files (Landlock) | sockets that it may open (seccomp) |
|---|---|---|---|
| worker | NET_RAW | reads the installation, /etc, /proc, /sys | AF_PACKET; connects to nobody |
| worker_offload | NET_RAW (before Linux 5.19 BPF) | as the worker | as the worker; uses the maps it was given |
| worker_ebpf | none (before Linux 5.19 BPF) | as the worker | none; connects to nobody; uses the maps it was given |
| identity | SYS_PTRACE, DAC_READ_SEARCH | all: Landlock would hide /proc/<pid>/fd | AF_NETLINK, AF_UNIX |
| exporter | none | as the worker, and the configured paths | AF_INET, AF_INET6, AF_UNIX, AF_NETLINK |

The supervisor uses BPF, PERFMON and NET_ADMIN to load the kernel's side, and has dropped them when children start; of
NET_RAW and BPF it keeps what its workers need.

What fails is returned as (component, reason), both of few words, because they become labels; with `strict` it is an
error. /proc is allowed whole: its directories of processes are new inodes after memory pressure, and a rule for
/proc/self would be lost with them; Landlock itself keeps other processes' memory, descriptors and environment closed.
"""

import os
import select
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from exporter.app import kernel, landlock, seccomp
from exporter.app.kernel import PR
from exporter.app.policy import NO_PRIVILEGE, READABLE, ROLES, SUPERVISOR, Config, Degraded, Policy, explain
from exporter.app.user import become, choose, installation
from exporter.errors import UserError

__all__ = ["enter", "missing", "restrict_supervisor"]


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
        become(*user)
    kernel.prctl(PR.CAP_AMBIENT, PR.CAP_AMBIENT_CLEAR_ALL)
    kernel.limit(policy.capabilities)


def _restrict(policy: Policy, config: Config, readable: Sequence[str]) -> list[Degraded]:
    """Take the steps in the order in which each still leaves the next one possible."""
    found: list[Degraded] = []
    user = choose(config.process.user)
    kernel.prctl(PR.SET_NO_NEW_PRIVS, 1)
    if policy.landlock:
        places = [*installation(), *READABLE, *readable]
        reason = "refused" if landlock.abi() else "unsupported"
        _attempt("landlock", lambda: landlock.restrict_files(places), found, reason)
    _privileges(policy, user, found)
    reason = "refused" if seccomp.supported() else "unsupported"
    _attempt("seccomp", lambda: seccomp.install(policy.sockets, maps=policy.maps), found, reason)
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


def missing(name: str) -> list[Degraded]:
    """Foretell what `enter` will find with this user's name, without changing anything."""
    found: list[Degraded] = []
    if isinstance(user := choose(name), str):
        found.append(("user", user))
    if os.geteuid() == 0 and "SETPCAP" not in kernel.held():
        found.append(("capabilities", "no_setpcap"))
    if not landlock.abi():
        found.append(("landlock", "unsupported"))
    if not seccomp.supported():
        found.append(("seccomp", "unsupported"))
    return found


def restrict_supervisor(worker: str) -> None:
    """Keep what children need, workers of this role; called when everything is opened.

    What cannot be dropped, the children report.
    """
    kept = SUPERVISOR | ROLES[worker].capabilities
    kernel.prctl(PR.SET_NO_NEW_PRIVS, 1)
    if os.geteuid() == 0:
        _attempt("capabilities", lambda: kernel.restrict(kept), [])
    kernel.limit(kept)
    if os.geteuid() != 0:
        _attempt("capabilities", lambda: kernel.raise_ambient(kept), [])
