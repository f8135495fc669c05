"""The landing page."""

import html

import exporter

__all__ = ["landing"]

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>netproc-exporter</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 40em; margin: 2em auto; padding: 0 1em }}</style>
</head>
<body>
<h1>netproc-exporter</h1>
<p>What every process, container and pod of this machine says over the network, as metrics.</p>
<p>Version {version}</p>
<ul>
<li><a href="{path}">Metrics</a></li>
<li><a href="/-/healthy">Healthy</a></li>
<li><a href="/-/ready">Ready</a></li>
</ul>
</body>
</html>
"""


def landing(path: str) -> str:
    """Write the page; `path` is where the metrics are."""
    return _PAGE.format(version=html.escape(exporter.__version__), path=html.escape(path, quote=True))
