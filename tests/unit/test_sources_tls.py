"""TLS under the guard: the connection goes to a judged address, the certificate must be the name's."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from imgapi.errors import SourceUnreachable
from imgapi.sources.fetch import Fetcher, FetchLimits, Origin
from networks import Detour, Names

NAMES = Names(photos_example=[["93.184.216.34"]], other_example=[["93.184.216.34"]])


def make_certificate(folder: Path, name: str) -> Path:
    """Write a self-signed certificate for `name`, with its key, and return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


class Server:
    """An HTTPS server on the loopback that remembers the names it was asked for."""

    def __init__(self, certificate: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.context.sni_callback = self.remember
        self.names: list[str | None] = []
        self.port = 0

    def remember(self, _socket: object, name: str | None, _context: object) -> None:
        """Keep the name that came by SNI."""
        self.names.append(name)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer any request with a small body."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Run a server whose certificate is for photos.example."""
    server = Server(make_certificate(tmp_path, "photos.example"))
    running = await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=server.context)
    server.port = running.sockets[0].getsockname()[1]
    yield server
    running.close()
    await running.wait_closed()


async def test_the_certificate_must_be_the_names(server: Server, tmp_path: Path) -> None:
    """SNI and certificate use the name although an address is dialled; a certificate of another name is refused."""
    trusted = ssl.create_default_context(cafile=tmp_path / "server.pem")
    fetcher = Fetcher(
        limits=FetchLimits(),
        allow_private=False,
        own={},
        resolve=NAMES,
        network=Detour(server.port),
        ssl_context=trusted,
    )
    source = await fetcher.fetch("https://photos.example/a")
    assert (source.content, source.origin) == (b"hi", Origin.PUBLIC)
    assert server.names == ["photos.example"]
    with pytest.raises(SourceUnreachable, match="certificate"):
        await fetcher.fetch("https://other.example/a")
    await fetcher.aclose()


async def test_unknown_authorities_are_not_trusted(server: Server) -> None:
    """By default only the public authorities are trusted."""
    fetcher = Fetcher(limits=FetchLimits(), allow_private=False, own={}, resolve=NAMES, network=Detour(server.port))
    with pytest.raises(SourceUnreachable, match="certificate"):
        await fetcher.fetch("https://photos.example/a")
    await fetcher.aclose()
