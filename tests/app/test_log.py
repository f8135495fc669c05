"""Log lines: one line an event, two formats, the same from all processes."""

import io
import json
import logging
import subprocess
import sys

import pytest

from exporter import log

EVENT = {
    "timestamp": "2026-11-24T11:57:03.120Z",
    "level": "warning",
    "component": "worker-0",
    "event": "interface is gone",
}


def test_console() -> None:
    assert (
        log.console(EVENT | {"interface": "eth0"})
        == "11:57:03 warning worker-0: interface is gone interface=eth0"
    )


def test_json_has_the_common_keys_first() -> None:
    line = log.jsonline({"interface": "eth0", **EVENT})
    assert list(json.loads(line)) == ["timestamp", "level", "component", "event", "interface"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a b", '"a b"'), ("", '""'), ("a\nb", '"a\\nb"'), ("\x1b[31m", '"\\u001b[31m"'), (5, "5"),
     ("é", "é"), ('"', '"\\""')],
)  # fmt: skip
def test_no_value_breaks_out_of_its_line(value: object, shown: str) -> None:
    assert log.console(EVENT | {"v": value}).endswith(f" v={shown}")
    assert "\n" not in log.console(EVENT | {"event": "a\nb"})
    assert "\n" not in log.jsonline(EVENT | {"v": value})


def test_auto_looks_at_the_stream() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert log.choose("auto", io.StringIO()) is log.jsonline
    assert log.choose("auto", Terminal()) is log.console
    assert log.choose("console", io.StringIO()) is log.console
    assert log.choose("json", Terminal()) is log.jsonline


def speak(code: str, *arguments: str) -> list[str]:
    text = (
        f"import logging; from exporter import log; log.configure({', '.join(map(repr, arguments))})\n{code}"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_structlog_and_libraries_speak_alike() -> None:
    code = "log.get().info('begun', n=1); log.get().debug('no'); logging.getLogger('uvicorn').error('it %s', 'broke')"
    first, second = map(json.loads, speak(code, "info", "json", "identity"))
    assert first["timestamp"].endswith("Z")
    del first["timestamp"], second["timestamp"]
    assert first == {"level": "info", "component": "identity", "event": "begun", "n": 1}
    assert second == {"level": "error", "component": "identity", "event": "it broke", "logger": "uvicorn"}


def test_exceptions_are_told() -> None:
    code = "try: 1/0\nexcept ZeroDivisionError: log.get().exception('failed')"
    (line,) = speak(code, "info", "json", "x")
    assert "ZeroDivisionError" in json.loads(line)["exception"]
    lines = speak(code, "info", "console", "x")
    assert lines[0].endswith("error   x: failed")
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_levels_are_those_of_logging() -> None:
    assert {name: getattr(logging, name.upper()) for name in log.LEVELS} == log.LEVELS
