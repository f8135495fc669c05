"""A supervisor as it will be: loads everything, says so, and stays until it is killed. See test_attach.py."""

import json
import signal
import sys
from pathlib import Path

from exporter.ebpf import support
from exporter.ebpf.kernel import Kernel, Sizes
from exporter.ebpf.layout import Settings

place = support.Place(objects=Path(sys.argv[1]))
kernel = Kernel(support.examine(place), Settings(), Sizes(1024, 256, 1 << 16, 1024))
kernel.open(place)
print(json.dumps(kernel.degraded), flush=True)
if len(sys.argv) < 3:
    signal.pause()
kernel.close()
