"""Real servers from Debian, each with files of its own, none with a privilege or port of the machine's."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.netns import Namespace, wait_for

SIZES = {"small": 2_000, "page": 100_000, "slow": 800_000}
"""What nginx serves: file name and length; `slow` takes a second."""

NGINX = """
user www-data;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    root {folder}/www;
    map $uri $speed {{ default 0; /slow 400000; }}  # a second's worth goes out at once
    limit_rate $speed;
    server {{ listen {http}; listen [::]:{http}; }}
    server {{
        listen {tls} ssl; listen [::]:{tls} ssl;
        ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    }}
}}
"""

WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2000")])
    return [b"x" * 2000]
"""

SSHD = """
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
"""


def renamed(tool: Callable[[str], str], root: Path) -> Callable[[str], str]:
    """Find a program as `tool` does, but a copy of a name that no other process on this machine has.

    Where the kernel counts, it counts for all of them.
    """

    def find(name: str) -> str:
        path = root / f"{name}-{os.getpid()}"
        if not path.exists():
            shutil.copy(Path(tool(name)).resolve(), path)
        return str(path)

    return find


class Servers:
    """Starts servers in one namespace. `tool` finds a program; `root` is a folder that every user may read."""

    def __init__(self, namespace: Namespace, root: Path, tool: Callable[[str], str]) -> None:
        self.namespace = namespace
        self.root = root / namespace.name
        self.root.mkdir()
        self.root.chmod(0o755)
        self.tool = tool

    def folder(self, name: str, owner: str = "root") -> Path:
        path = self.root / name
        path.mkdir()
        path.chmod(0o755)
        shutil.chown(path, owner)
        return path

    def _listens(self, port: int) -> None:
        wait_for(f"a server on port {port}", lambda: self.namespace.connects("127.0.0.1", port), 20)

    def nginx(self, http: int, tls: int, workers: int = 1) -> None:
        """Serve `SIZES`, in the clear and over TLS."""
        folder = self.folder(f"nginx-{http}")
        www = self.folder(f"nginx-{http}/www")
        for name, size in SIZES.items():
            (www / name).write_bytes(b"x" * size)
        subprocess.run(
            [
                *(
                    self.tool("openssl"),
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                ),
                *("-nodes", "-subj", "/CN=www.example.test", "-days", "2"),
                *("-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
            ],
            check=True,
            capture_output=True,
        )
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, http=http, tls=tls, workers=workers))
        self.namespace.start(self.tool("nginx"), "-p", folder, "-c", config, "-g", "daemon off;")
        self._listens(tls)

    def gunicorn(self, port: int, workers: int) -> None:
        """Serve 2,000 bytes to whoever asks over IPv4 or IPv6, and keep connections."""
        folder = self.folder(f"gunicorn-{port}")
        (folder / "app.py").write_text(WSGI)
        keep = ("--worker-class", "gthread", "--keep-alive", "10")
        self.namespace.start(
            self.tool("gunicorn"),
            "--chdir",
            folder,
            "--workers",
            str(workers),
            *keep,
            "--bind",
            f"[::]:{port}",
            "app:app",
        )
        self._listens(port)

    def dnsmasq(self, port: int) -> None:
        """Answer for www.example.test alone, and ask nobody."""
        self.namespace.start(
            *(
                self.tool("dnsmasq"),
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
            ),
            *("--user=root", "--pid-file=", f"--port={port}", "--cache-size=0"),
            "--host-record=www.example.test,192.0.2.80,2001:db8::80",
        )
        self._listens(port)

    def sshd(self, port: int) -> Path:
        """Let root in with a key, whose path is given."""
        folder = self.folder(f"sshd-{port}")
        for name in ("host_key", "user_key"):
            subprocess.run(
                [self.tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
            )
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation is compiled to chroot there
        config = folder / "sshd_config"
        config.write_text(SSHD.format(folder=folder, port=port))
        self.namespace.start(self.tool("sshd"), "-D", "-f", config)
        self._listens(port)
        return folder / "user_key"

    def postgres(self, port: int) -> None:
        """Trust everybody, in a cluster of its own."""
        folder = self.folder(f"postgres-{port}", "postgres")
        binaries = Path(subprocess.check_output([self.tool("pg_config"), "--bindir"], text=True).strip())
        user = pwd.getpwnam("postgres")
        become = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": folder}
        if not (binaries / "initdb").exists():
            binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=os.path.getmtime)
        subprocess.run(
            [binaries / "initdb", "-D", folder / "data", "-A", "trust", "--no-sync", "--locale=C.UTF-8"],
            check=True,
            capture_output=True,
            **become,
        )
        with (folder / "data" / "pg_hba.conf").open("a") as access:
            access.write("host all all all trust\n")
        settings = ("listen_addresses=*", f"unix_socket_directories={folder}", "fsync=off", "jit=off")
        flags = [flag for setting in settings for flag in ("-c", setting)]
        runuser = (self.tool("runuser"), "-u", "postgres", "--")
        self.namespace.start(*runuser, binaries / "postgres", "-D", folder / "data", "-p", str(port), *flags)
        self._listens(port)

    def slow(self, http: int, dns: int) -> None:
        """Serve HTTP and DNS of our own, which answer as late as they are asked to."""
        self.namespace.start(sys.executable, Path(__file__).with_name("slow.py"), str(http), str(dns))
        self._listens(http)

    def iperf3(self, port: int) -> None:
        self.namespace.start(self.tool("iperf3"), "-s", "-p", str(port))
        self._listens(port)
