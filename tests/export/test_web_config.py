"""The file of --web.config.file: read as exporter-toolkit reads it, and read again when it changes."""

import base64
import ssl
import subprocess
import time

import bcrypt
import pytest

from exporter.errors import ConfigError
from exporter.export.web import tls
from exporter.export.web.auth import Gate, credentials
from exporter.export.web.config import Tls, load
from exporter.export.web.live import Live
from exporter.metrics import Origin
from tests.conftest import find_tool
from tests.export.conftest import Shard, fill, start, wait_for
from tests.export.test_http import answers

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
OTHER = bcrypt.hashpw(b"changed", bcrypt.gensalt(4)).decode()
needs_openssl = pytest.mark.skipif(find_tool("openssl") is None, reason="no openssl")


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """Certificates: two of a server, and a client's from an authority of its own."""
    if find_tool("openssl") is None:
        pytest.skip("no openssl")
    place = tmp_path_factory.mktemp("ca")

    def make(name, *more):
        words = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
        ]
        subprocess.run(
            ["openssl", *words, f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", *more],
            cwd=place,
            check=True,
            capture_output=True,
        )

    make("first")
    make("second")
    make("client", "-addext", "subjectAltName=DNS:prometheus")
    return place


def write(path, text):
    """As an editor does: a new file under the old name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tls_server_config: {cert: x}", "unknown field `cert`"),
        ("tls_server_confg: {}", "unknown field `tls_server_confg`"),
        ("tls_server_config: {cert_file: a}", "tls_server_config: cert_file and key_file"),
        (
            "tls_server_config: {cert_file: a, key_file: b, min_version: TLS9}",
            "$.tls_server_config.min_version",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}",
            "needs client_ca_file",
        ),
        ("http_server_config: {headers: {Server: x}}", "unknown field `Server`"),
        ("http_server_config: {headers: {X-Frame-Options: never}}", "X-Frame-Options"),
        ("basic_auth_users: {joe: secret}", "basic_auth_users.joe: not a bcrypt hash"),
        ("rate_limit: {interval: soon}", "rate_limit.interval"),
        ("a: [", "line 1, column 5"),
        ("- a", "Expected `object`"),
        ("tls_server_config: {cert_file: a, key_file: b}", "cannot use"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, text, place):
    path = tmp_path / "web.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Live(str(path))
    assert place in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load(str(tmp_path / "none.yml"))


def test_an_empty_file_asks_for_nothing(tmp_path):
    path = tmp_path / "web.yml"
    path.write_text("")
    assert load(str(path)) == load("")


def test_the_example_of_exporter_toolkit(tmp_path):
    path = tmp_path / "web.yml"
    path.write_text(
        "tls_server_config:\n"
        "  cert_file: server.crt\n"
        "  key_file: server.key\n"
        "  client_auth_type: NoClientCert\n"
        "  min_version: TLS12\n"
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n"
        "http_server_config:\n"
        "  http2: true\n"
        "  headers: {X-Content-Type-Options: nosniff, Strict-Transport-Security: max-age=1}\n"
        f"basic_auth_users: {{alice: {HASH}}}\n"
        "rate_limit: {interval: 500ms, burst: 5}\n"
    )
    found = load(str(path))
    assert found.tls_server_config.cert_file == str(tmp_path / "server.crt")
    assert found.http_server_config.headers.pairs() == [
        (b"strict-transport-security", b"max-age=1"),
        (b"x-content-type-options", b"nosniff"),
    ]
    assert found.rate_limit.seconds == 0.5


@pytest.mark.parametrize(
    ("go", "openssl"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("TLS_AES_128_GCM_SHA256", ""),
    ],
)
def test_cipher_suites_have_gos_names(go, openssl):
    assert tls._cipher(go) == openssl
    if openssl:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(openssl)


@needs_openssl
def test_unknown_suites_and_curves_are_named(ca):
    files = {"cert_file": str(ca / "first.pem"), "key_file": str(ca / "first.key")}
    with pytest.raises(ConfigError, match="cipher_suites"):
        tls.context(Tls(**files, cipher_suites=("TLS_NO_WITH_SUCH_SUITE",)))
    with pytest.raises(ConfigError, match="curve_preferences"):
        tls.context(Tls(**files, curve_preferences=("Curve1",)))
    assert (
        tls.context(Tls(**files, curve_preferences=("CurveP256",))).minimum_version is ssl.TLSVersion.TLSv1_2
    )


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (basic("a", "b:c"), ("a", b"b:c")),
        ("basic YTpi", ("a", b"b")),
        ("", None),
        ("Bearer x", None),
        ("Basic ???", None),
        ("Basic YQ==", None),
        ("Basic /////w==", None),
    ],
)
def test_credentials(header, found):
    assert credentials(header) == found


def test_a_stranger_costs_what_a_wrong_password_costs():
    users = {"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(8)).decode()}

    def cost(user, password):
        begin = time.perf_counter()
        answer = Gate().check(users, user, password)
        return answer, time.perf_counter() - begin

    assert cost("alice", b"secret")[0]
    wrong = min(cost("alice", bytes([n]))[1] for n in range(5))
    stranger = min(cost("mallory", bytes([n]))[1] for n in range(5))
    assert stranger == pytest.approx(wrong, rel=0.5)
    assert not cost("mallory", b"secret")[0]
    assert not cost("alice", b"x" * 200)[0]


def test_answers_are_remembered_until_the_user_changes():
    gate, users = Gate(), {"alice": HASH}
    assert gate.remembered(users, "alice", b"secret") is None
    assert gate.check(users, "alice", b"secret")
    assert gate.remembered(users, "alice", b"secret")
    assert gate.remembered({"alice": OTHER}, "alice", b"secret") is None
    for number in range(300):
        gate._known[bytes([number % 256, number // 256])] = False
        gate.check(users, "alice", b"secret")
    assert len(gate._known) <= 201


@pytest.fixture
def serve(tmp_path):
    """Start the exporter with a web file of this text."""
    from contextlib import contextmanager

    path = tmp_path / "web.yml"

    @contextmanager
    def run(text):
        write(path, text)
        shards = [fill(Shard()), Shard(origin=Origin.IDENTITY)]
        for one in shards:
            one.publish()
        with start(shards, config_file=str(path)) as running:
            running.path = path
            yield running

    return run


def test_users_change_without_a_restart(serve):
    with serve(f"basic_auth_users: {{alice: {HASH}}}") as running:
        wait_for(lambda: connects(running))
        status, headers, _ = running.get()
        assert (status, headers["www-authenticate"]) == (401, "basic")
        assert running.get("/-/healthy")[0] == 401
        assert running.get(authorization=basic("alice", "secret"))[0] == 200
        assert running.get(authorization=basic("alice", "wrong"))[0] == 401
        assert running.get(authorization=basic("bob", "secret"))[0] == 401
        write(running.path, f"basic_auth_users: {{alice: {OTHER}}}")
        assert running.get(authorization=basic("alice", "secret"))[0] == 401
        assert running.get(authorization=basic("alice", "changed"))[0] == 200
        write(running.path, "basic_auth_users: {alice: broken}")
        assert running.get(authorization=basic("alice", "changed"))[0] == 200
        assert running.get()[0] == 401
        running.process.terminate()
        assert "not a bcrypt hash" in running.process.stderr.read()


def connects(running):
    try:
        running.get("/-/healthy")
    except OSError:
        return False
    return True


def test_headers_and_rate_limit(serve):
    text = "http_server_config: {headers: {X-Frame-Options: deny}}\nrate_limit: {interval: 1h, burst: 30}"
    with serve(text) as running:
        wait_for(lambda: answers(running))
        assert running.get("/nothing")[1]["x-frame-options"] == "deny"
        assert 429 in {running.get("/-/healthy")[0] for _ in range(40)}


def secure(running, context):
    """Handshake and ask; give the server's certificate and the status line."""
    import socket

    with (
        socket.create_connection(("127.0.0.1", running.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return client.getpeercert(binary_form=True), client.recv(100)


def trusting(ca=None, *names):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name in names:
        context.load_cert_chain(ca / f"{name}.pem", ca / f"{name}.key")
    return context


@needs_openssl
def test_certificates_change_without_a_restart(serve, ca):
    def text(name):
        return f"tls_server_config: {{cert_file: {ca}/{name}.pem, key_file: {ca}/{name}.key}}"

    def certificate(name):
        return ssl.PEM_cert_to_DER_cert((ca / f"{name}.pem").read_text())

    with serve(text("first")) as running:
        wait_for(lambda: speaks(running))
        found, answer = secure(running, trusting())
        assert answer.startswith(b"HTTP/1.1 200")
        assert found == certificate("first")
        write(running.path, text("second"))
        wait_for(lambda: secure(running, trusting())[0] == certificate("second"))
        assert running.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n") == b""
        old = trusting()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert secure(running, old)[1].startswith(b"HTTP/1.1 200")
        write(running.path, text("second").replace("}", ", min_version: TLS13}"))
        wait_for(lambda: refused(running, old))


def speaks(running):
    try:
        return secure(running, trusting())[1].startswith(b"HTTP/1.1")
    except OSError:
        return False


def refused(running, context):
    try:
        return secure(running, context)[1] == b""
    except (ssl.SSLError, ConnectionResetError):
        return True


@needs_openssl
def test_clients_show_certificates(serve, ca):
    files = f"cert_file: {ca}/first.pem, key_file: {ca}/first.key, client_ca_file: {ca}/client.pem"
    asked = f"tls_server_config: {{{files}, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [NAME]}}"
    with serve(asked.replace("NAME", "prometheus")) as running:
        wait_for(lambda: not refused(running, trusting(ca, "client")))
        assert refused(running, trusting())
        assert refused(running, trusting(ca, "second"))
        write(running.path, asked.replace("NAME", "grafana"))
        wait_for(lambda: refused(running, trusting(ca, "client")))


@needs_openssl
def test_a_wrong_file_at_the_start_is_one_line_and_status_2(serve, tmp_path):
    with serve("tls_server_config: {cert_file: a, key_file: b}") as running:
        assert running.process.wait(10) == 2
        lines = running.process.stderr.read().splitlines()
        assert len(lines) == 1
        assert "cannot use" in lines[0]
