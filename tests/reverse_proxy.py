"""A reverse proxy, as in front of a tracking server: HTTPS, a path prefix, and a password."""

import base64
import datetime
import http.client
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PREFIX = "/some/mlflow"


class Authority:
    """A certificate authority of one's own, which browsers and libraries do not know."""

    def __init__(self, folder: Path) -> None:
        """Create its key and its certificate."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
        self.file = folder / "authority.pem"
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        own = self._certificate(self._name, self._key.public_key(), constraints, days=1)
        self.file.write_bytes(own)

    def issue(self, *, host: str = "127.0.0.1", days: int = 1) -> Path:
        """Issue a certificate; returns a file with it and its key.

        Args:
            host: the address for which it is valid.
            days: how long it is valid from now on; if negative, it has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        path = self._folder / f"{host}.{days}.pem"
        path.write_bytes(
            self._certificate(name, key.public_key(), address, days)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    def _certificate(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extension: x509.ExtensionType,
        days: int,
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=10))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class Proxy:
    """What a running proxy does; tests may change it."""

    port: int
    """The port of the server behind it."""
    accepted: set[str] = field(default_factory=set)
    """Values of the header ``Authorization`` that are accepted; empty if none is asked for."""
    is_behind_up: bool = True
    """Whether the server behind it answers; otherwise, all requests are answered with 502."""
    asked: list[str] = field(default_factory=list)
    """The paths that were asked for."""
    uri: str = ""

    def accept(self, user: str, password: str) -> None:
        """Accept a user from now on."""
        both = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.accepted.add(f"Basic {both}")


@contextmanager
def reverse_proxy(port: int, certificate: Path | None = None) -> Iterator[Proxy]:
    """Run a proxy that serves what a port serves, below `PREFIX`.

    Args:
        port: the port of the server behind it.
        certificate: a file of `Authority.issue`; None for HTTP.
    """
    proxy = Proxy(port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = self._chunks()
            proxy.asked.append(self.path)
            if proxy.accepted and self.headers.get("Authorization") not in proxy.accepted:
                self._answer(401, b"<html>401 Authorization Required</html>")
            elif not self.path.startswith(f"{PREFIX}/"):
                self._answer(404, b"<html>404 Not Found</html>")
            elif not proxy.is_behind_up:
                self._answer(502, b"<html>502 Bad Gateway</html>")
            else:
                self._forward(body)

        def _chunks(self) -> bytes:
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def _forward(self, body: bytes) -> None:
            behind = http.client.HTTPConnection("127.0.0.1", proxy.port)
            names = ("Content-Type", "Accept", "User-Agent")
            headers = {name: self.headers[name] for name in names if name in self.headers}
            behind.request(self.command, self.path.removeprefix(PREFIX), body, headers)
            answer = behind.getresponse()
            kind = answer.headers.get("Content-Type", "text/plain")
            self._answer(answer.status, answer.read(), kind)
            behind.close()

        def _answer(self, status: int, body: bytes, kind: str = "text/html") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    proxy.uri = f"{scheme}://127.0.0.1:{server.server_port}{PREFIX}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
