import pytest

from exporter.identity.choice import choose, late
from exporter.model import Owner


def make(process, pid, ppid=1, start=100.0, ancestors=()):
    return Owner(
        process, pid=pid, ppid=ppid, start=start, ancestors=tuple((a, "x") for a in (ppid, *ancestors))
    )


SYSTEMD = make("systemd", 1, 0, 0.0)
CASES = {
    "one": ([make("curl", 5)], "curl", 5),
    "prefork": ([make("nginx", 7, 5), make("nginx", 6, 5), make("nginx", 5)], "nginx", 5),
    "siblings": ([make("php-fpm", 7, 5, 102.0), make("php-fpm", 6, 5, 101.0)], "php-fpm", 6),
    "socket_activation": ([make("sshd", 9), SYSTEMD], "sshd", 9),
    "user_manager": ([make("agent", 9, 8), make("systemd", 8)], "agent", 9),
    "manager_alone": ([SYSTEMD], "systemd", 1),
    "leaked_to_a_child": ([make("sleep", 9, 5), make("daemon", 5)], "daemon", 5),
    "leaked_to_a_grandchild": ([make("sleep", 9, 8, ancestors=(5,)), make("daemon", 5)], "daemon", 5),
    "leaked_to_a_child_of_a_smaller_number": (
        [make("sleep", 5, 900, 101.0), make("daemon", 900)],
        "daemon",
        900,
    ),
    "siblings_numbers_anew": ([make("php-fpm", 7, 5, 102.0), make("php-fpm", 900, 5, 101.0)], "php-fpm", 900),
    "a_late_namesake_of_its_parent": ([make("a", 9, 8, 100.0), make("b", 8, 1, 200.0)], None, None),
    "passed_to_a_stranger": ([make("a", 5), make("b", 6)], None, None),
}


@pytest.mark.parametrize("name", CASES)
def test_choose(name):
    owners, process, pid = CASES[name]
    for order in (owners, owners[::-1]):
        chosen = choose(order)
        assert (chosen and chosen.process, chosen and chosen.pid) == (process, pid)


@pytest.mark.parametrize(("start", "expected"), [(99.0, False), (100.05, False), (100.5, True)])
def test_who_started_later_has_not_opened_it(start, expected):
    assert late(make("x", 5, start=start), 100.0) is expected
