"""HTTP, in the clear and over TLS: nginx, asked by curl."""

from functools import partial

from tests.e2e.live.place import ADDRESS, Case, Place

CLEAR, DEFERRED, H2C, OLD, NEW = 18080, 18082, 18081, 18443, 18444
"""Ports: HTTP/1.1, twice, HTTP/2 by prior knowledge, TLS 1.2, TLS 1.3 with HTTP/2 in it."""
NGINX = """
user www-data;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    root {folder}/www;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    server {{ listen {CLEAR}; }}
    server {{ listen {DEFERRED} deferred; }}
    server {{ listen {H2C} http2; }}
    server {{ listen {OLD} ssl; ssl_protocols TLSv1.2; }}
    server {{ listen {NEW} ssl http2; ssl_protocols TLSv1.3; }}
}}
"""
REQUEST = (
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "2",
)
PAGE = 100_000
TIMES = 3


def certificate(place: Place, folder: str) -> tuple[str, str]:
    """Make a key and a certificate of its own in a folder; give both files."""
    key, signed = f"{folder}/key.pem", f"{folder}/cert.pem"
    place.run("openssl", *REQUEST, "-subj", "/CN=www.example.test", "-keyout", key, "-out", signed)
    return key, signed


def nginx(place: Place) -> None:
    folder = place.folder("nginx-live")
    (folder / "www").mkdir()
    (folder / "www" / "page").write_bytes(b"x" * PAGE)
    (folder / "www" / "page").chmod(0o644)
    certificate(place, str(folder))
    config = folder / "nginx.conf"
    ports = {"CLEAR": CLEAR, "DEFERRED": DEFERRED, "H2C": H2C, "OLD": OLD, "NEW": NEW}
    config.write_text(NGINX.format(folder=folder, **ports))
    place.start(place.own("nginx"), "-p", folder, "-c", config, "-g", "daemon off;")
    place.listens(NEW)


def curl(place: Place, *arguments: str, check: bool = True) -> None:
    """Run a curl that has a name of its own."""
    place.run(place.own("curl"), "-sk", "--noproxy", "*", "--max-time", "10", *arguments, check=check)


def pages(place: Place) -> None:
    """Two pages and a missing one over one connection, then a head, then something that is not allowed."""
    nowhere = ("-o", "/dev/null")
    paths = ("page", "page?secret=1", "none")
    curl(place, "--http1.1", *(word for path in paths for word in (f"{CLEAR_URL}/{path}", *nowhere)))
    curl(place, "--http1.1", "-I", f"{CLEAR_URL}/page")
    curl(place, "--http1.1", "-d", "a=b", f"{CLEAR_URL}/page")


DID = {("GET", "2xx"): 2, ("GET", "4xx"): 1, ("HEAD", "2xx"): 1, ("POST", "4xx"): 1}
CLEAR_URL, H2C_URL = (f"http://{ADDRESS}:{port}" for port in (CLEAR, H2C))


def secure(place: Place, port: int) -> None:
    """Some connections, each for a page."""
    for _ in range(TIMES):
        curl(place, "--http2", "-o", "/dev/null", f"https://{ADDRESS}:{port}/page")


def deferred(place: Place) -> None:
    """Connections that the server is only told of when their request is there."""
    for _ in range(TIMES):
        curl(place, "--http1.1", "-o", "/dev/null", f"http://{ADDRESS}:{DEFERRED}/page")


def streams(place: Place) -> None:
    """The same, over connections of their own: this curl ends with an error where it uses one again."""
    version = "--http2-prior-knowledge"
    for path in ("page", "page?secret=1", "none"):
        curl(place, version, "-o", "/dev/null", f"{H2C_URL}/{path}")
    curl(place, version, "-I", f"{H2C_URL}/page")
    curl(
        place, version, "-d", "a=b", f"{H2C_URL}/page", check=False
    )  # nginx resets what it did not want to read


OLD_TLS, NEW_TLS = (
    Case(
        f"TLS {version}",
        "tls",
        "nginx",
        nginx,
        partial(secure, port=port),
        versions={("tls", version): TIMES},
        handshakes={"tls": TIMES},
        named=("curl", "nginx"),
    )
    for version, port in (("1.2", OLD), ("1.3", NEW))
)
"""HTTP/1.1 in the first, HTTP/2 in the other."""
CASES = [
    Case("HTTP/1.1", "http", "nginx", nginx, pages, DID, {("http", "1.1"): 3}),
    Case(
        "HTTP/1.1, deferred accept",
        "http",
        "nginx",
        nginx,
        deferred,
        {("GET", "2xx"): TIMES},
        {("http", "1.1"): TIMES},
    ),
    Case("HTTP/2", "http2", "nginx", nginx, streams, DID, {("http2", "2"): 5}),
    OLD_TLS,
    NEW_TLS,
]
