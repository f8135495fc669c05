"""From what the ledger knows of a process to labels. Names come last: here, when a row is rendered."""

from typing import NamedTuple, Protocol

from exporter.metrics import Scope
from exporter.model import IdentityKey

__all__ = ["Names", "Pod", "ShortNames", "identity_labels"]

SHORT = 12
"""So many digits of a container's id are shown where its name is not known."""

Pairs = tuple[tuple[str, str], ...]


class Pod(NamedTuple):
    """What Kubernetes calls a pod."""

    namespace: str
    name: str
    workload: str


class Names(Protocol):
    """Who knows what containers and pods are called."""

    kubernetes: bool
    """Whether namespace, pod and workload are labels at all."""
    version: int
    """Changes when any answer may have changed."""

    def container_name(self, container: str) -> str:
        """Give the container's name, or what stands for it."""
        ...

    def pod(self, uid: str) -> Pod | None:
        """Give the pod's names; None: not known yet, its rows are withheld."""
        ...


class ShortNames:
    """Without a runtime to ask: the first digits of the container's id, and no pods."""

    kubernetes = False
    version = 0

    def container_name(self, container: str) -> str:
        return container[:SHORT]

    def pod(self, uid: str) -> Pod | None:
        return Pod("", uid, "")


def identity_labels(scope: Scope, identity: IdentityKey, names: Names) -> Pairs | None:
    """Give the identity labels of a row; None while the row is withheld."""
    if scope is Scope.NONE:
        return ()
    process = ("process", identity.process)
    where: Pairs = ()
    if names.kubernetes:
        pod = names.pod(identity.pod) if identity.pod else Pod("", "", "")
        if pod is None:
            return None
        where = (("namespace", pod.namespace), ("pod", pod.name), ("workload", pod.workload))
    if scope is Scope.COARSE:
        return (process, *(pair for pair in where if pair[0] != "pod"))
    return (("container", names.container_name(identity.container)), process, *where)
