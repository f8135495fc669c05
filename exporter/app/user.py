"""Whom the children become, and whether that user could still load the program."""

import errno
import os
import pwd
import sys
from pathlib import Path

from exporter.app import kernel
from exporter.errors import ConfigError

__all__ = ["become", "choose", "installation", "resolve_user"]

NOBODY = 65534


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


def installation() -> list[str]:
    """Directories that late imports read."""
    places = {
        sys.prefix,
        sys.base_prefix,
        str(Path(__file__).parents[1]),
        str(Path(os.__file__).parent),
        *sys.path,
    }
    return sorted(place for place in places if place and os.path.isdir(place))  # noqa: PTH112  (raises nothing)


def _can_read_installation(uid: int, gid: int) -> bool:
    """Look with the user's own eyes: ask the kernel, who knows ACLs and mounts."""
    places = installation()
    os.setegid(gid)
    os.seteuid(uid)
    try:
        for place in places:
            with os.scandir(place):
                pass
    except OSError:
        return False
    finally:
        os.seteuid(0)
        os.setegid(0)
    return True


def choose(name: str) -> tuple[int, int] | str:
    """Decide whom to become, or why not."""
    if os.geteuid() != 0:
        return "not_root"
    uid, gid = resolve_user(name)
    if uid == 0:
        return "kept_root"
    if not {"SETUID", "SETGID"} <= kernel.held():
        return "no_setuid"
    try:
        return (uid, gid) if _can_read_installation(uid, gid) else "unreadable_installation"
    except OSError as error:
        return "no_such_id" if error.errno == errno.EINVAL else "refused"


def become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
