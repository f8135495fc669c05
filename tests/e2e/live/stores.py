"""Data bases and caches: PostgreSQL, MariaDB, Redis, memcached."""

import subprocess
from pathlib import Path

from tests.e2e.live.place import ADDRESS, Case, Place

POSTGRES, MARIADB, REDIS, MEMCACHED = 18432, 18306, 18379, 18211
STATEMENTS = (
    "CREATE TABLE live (number INT)",
    "INSERT INTO live VALUES (1), (2)",
    "UPDATE live SET number = 3 WHERE number = 2",
    "SELECT * FROM live",
    "SELECT nothing FROM live",
    "DROP TABLE live",
)


def postgres(place: Place) -> None:
    place.servers.postgres(POSTGRES)


def psql(place: Place) -> None:
    flags = [flag for statement in STATEMENTS for flag in ("-c", statement)]
    place.run("psql", "-X", "-h", ADDRESS, "-p", str(POSTGRES), "-U", "postgres", *flags, check=False)


def mariadbd(place: Place) -> None:
    folder = place.folder("mariadb", "mysql")
    data = ("--no-defaults", f"--datadir={folder}/data", "--user=mysql")
    installing = (
        place.tool("mariadb-install-db"),
        *data,
        "--skip-test-db",
        "--auth-root-authentication-method=normal",
    )
    subprocess.run(installing, check=True, capture_output=True, timeout=25)
    (folder / "init.sql").write_text(
        "CREATE DATABASE live;\nCREATE USER live@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON live.* TO live@'%';\n"
    )
    (folder / "init.sql").chmod(0o644)
    small = ("--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M", "--skip-name-resolve")
    mine = (
        f"--port={MARIADB}",
        f"--socket={folder}/sock",
        f"--pid-file={folder}/pid",
        "--bind-address=0.0.0.0",
    )
    log = ("--general-log", f"--general-log-file={folder}/general.log")
    place.start("mariadbd", *data, *mine, *small, *log, f"--init-file={folder}/init.sql")
    place.listens(MARIADB)


def mariadb(place: Place) -> None:
    flags = ("--no-defaults", "-h", ADDRESS, "-P", str(MARIADB), "-u", "live", "-psecret", "--force", "live")
    place.run("mariadb", *flags, input=";\n".join(STATEMENTS) + ";\n", check=False)


def redis(place: Place) -> None:
    folder = place.folder("redis")
    flags = (
        "--port",
        str(REDIS),
        "--bind",
        "0.0.0.0",
        "--protected-mode",
        "no",
        "--save",
        "",
        "--dir",
        str(folder),
    )
    place.start("redis-server", *flags)
    place.listens(REDIS)


def redis_cli(place: Place) -> None:
    """Commands over connections of their own; the last is not for what is there."""
    for asked in ("SET key value", "GET key", "GET nothing", "DEL key none", "SET key word", "INCR key"):
        place.run("redis-cli", "-h", ADDRESS, "-p", str(REDIS), *asked.split())


def memcached(place: Place) -> None:
    place.start("memcached", "-u", "nobody", "-p", str(MEMCACHED), "-U", "0", "-l", "0.0.0.0", "-m", "8")
    place.listens(MEMCACHED)


def memcat(place: Place) -> None:
    """Put a file there, read it, read what is not there, take it away."""
    file: Path = place.servers.root / "kept"
    file.write_text("some words\n")
    server = f"--servers={ADDRESS}:{MEMCACHED}"
    place.run("memccp", server, file)
    place.run("memccat", server, "kept")
    place.run("memccat", server, "none", check=False)
    place.run("memcrm", server, "kept")


VERBS = {
    ("CREATE", "ok"): 1,
    ("INSERT", "ok"): 1,
    ("UPDATE", "ok"): 1,
    ("SELECT", "ok"): 1,
    ("SELECT", "error"): 1,
    ("DROP", "ok"): 1,
}

CASES = [
    Case(
        "PostgreSQL",
        "postgres",
        "postgres",
        postgres,
        psql,
        {**VERBS, ("ssl_request", "refused"): 1, ("startup", "ok"): 1},
        {("postgres", "3.0"): 1},
    ),
    Case(
        "MariaDB", "mysql", "mariadbd", mariadbd, mariadb, {**VERBS, ("login", "ok"): 1}, {("mysql", "10"): 1}
    ),
    Case(
        "Redis",
        "redis",
        "redis-check-rdb",
        redis,
        redis_cli,
        {
            ("SET", "ok"): 2,
            ("GET", "ok"): 1,
            ("GET", "nil"): 1,
            ("DEL", "ok"): 1,
            ("INCR", "ERR"): 1,
        },
    ),
    Case(
        "memcached",
        "memcached",
        "memcached",
        memcached,
        memcat,
        {("set", "stored"): 1, ("get", "hit"): 1, ("get", "miss"): 1, ("delete", "deleted"): 1},
    ),
]
