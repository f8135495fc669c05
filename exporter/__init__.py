"""netproc-exporter: what every process, container and pod of a machine says over the network, as metrics."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("netproc-exporter")
except PackageNotFoundError:  # running from a bare source tree
    __version__ = "0+unknown"
