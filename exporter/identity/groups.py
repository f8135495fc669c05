"""Rules that give processes other names, as process-exporter has them: the first whose patterns all match decides."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from exporter.config import GroupRule
from exporter.errors import ConfigError

__all__ = ["Grouping"]

PATTERNS = ("executable", "command", "unit")
OURS = "netproc-exporter"
LONGEST = 128
"""Characters of a process label."""


class Rule(NamedTuple):
    """A compiled rule; a pattern that was not given is None."""

    name: str
    executable: re.Pattern[str] | None
    command: re.Pattern[str] | None
    unit: re.Pattern[str] | None


class Grouping:
    """All rules, compiled once. In a name `{0}`, `{1}` ... are what the patterns' brackets matched, in order."""

    def __init__(self, rules: Sequence[GroupRule] = ()) -> None:
        """Compile; a bad pattern or name is a ConfigError that tells its place."""
        self.rules = [compile_rule(rule, f"identity.groups[{index}]") for index, rule in enumerate(rules)]
        self.supervisor = 0
        """Our own supervisor's pid; 0 where there is none."""

    def own(self, pid: int, ppid: int) -> str:
        """Give our own label if this is the supervisor or a child of its; empty: it is somebody else."""
        return OURS if self.supervisor and self.supervisor in (pid, ppid) else ""

    def label(self, name: str, path: str, command: Sequence[str], unit: str) -> str:
        """Give the label of a process whose executable has this name and path."""
        if self.rules:
            line = " ".join(command)
            for rule in self.rules:
                groups = match_rule(rule, (name, path), line, unit)
                if groups is not None:
                    return clean(rule.name.format(*groups)) or name
        return name


def compile_rule(rule: GroupRule, place: str) -> Rule:
    patterns = []
    for field in PATTERNS:
        text = getattr(rule, field)
        try:
            patterns.append(re.compile(text) if text else None)
        except re.error as error:
            raise ConfigError(f"{place}.{field}: not a regular expression: {error}") from None
    if not any(patterns):
        raise ConfigError(f"{place}: give at least one of {', '.join(PATTERNS)}")
    count = sum(pattern.groups for pattern in patterns if pattern)
    try:
        named = rule.name.format(*(["x"] * count))
    except (LookupError, ValueError, AttributeError):
        raise ConfigError(
            f"{place}.name: {rule.name!r} asks for a group that its patterns do not have"
        ) from None
    if not named:
        raise ConfigError(f"{place}.name: must not be empty")
    return Rule(rule.name, *patterns)


def match_rule(rule: Rule, executable: tuple[str, str], line: str, unit: str) -> list[str] | None:
    """Give the groups matched, or None. The executable's pattern may match its name or its path."""
    found = []
    for pattern, texts in ((rule.executable, executable), (rule.command, (line,)), (rule.unit, (unit,))):
        if pattern is None:
            continue
        match = next(filter(None, map(pattern.search, texts)), None)
        if match is None:
            return None
        found += [group or "" for group in match.groups()]
    return found


def clean(text: str) -> str:
    """Make a label: printable and of bounded length."""
    return "".join(c if c.isprintable() else "?" for c in text)[:LONGEST]
