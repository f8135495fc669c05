"""The real supervisor with `fake_child.py` as its children: python fake_supervisor.py CONFIG.json."""

import sys
from pathlib import Path

from exporter.app import supervisor
from exporter.errors import UserError

CHILD = str(Path(__file__).with_name("fake_child.py"))
try:
    status = supervisor.run(
        Path(sys.argv[1]).read_bytes(), program=lambda role: [sys.executable, "-P", CHILD, role]
    )
except UserError as error:
    print(f"netproc-exporter: {error}", file=sys.stderr)
    status = error.status
sys.exit(status)
