"""Dissectors import before a worker is restricted, but for what decrypts: that it may still read."""

import subprocess
import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[2])
CODE = """
import sys
sys.path.insert(0, sys.argv[1])
from exporter.app import sandbox
from exporter.config import Config
from exporter.dpi import load
from tests.dpi.cases import cases
chosen = [case for case in cases() if case.protocol in ("quic", "http2")]
dissectors = {dissector.name: dissector for dissector in load()}
sandbox.enter("worker", Config())
before = set(sys.modules)
for case in chosen:
    parser = dissectors[case.protocol].parser(case.ends)
    said = [message for side, data in case.data for message in parser.feed(side, data)]
    assert len(said) == len(case.messages), case.name
late = {name.partition(".")[0] for name in set(sys.modules) - before}
print(len(chosen) > 10, sorted(late))
"""


def test_nothing_else_is_imported_late():
    done = subprocess.run(
        [sys.executable, "-Pc", CODE, ROOT], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("True ['_cffi_backend', '_openssl', 'cryptography']\n", "")
