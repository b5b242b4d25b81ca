"""A receiver of messages on the loopback: it remembers what it got, and answers from a script."""

import asyncio
import datetime as dt
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from networks import Answer, reply

NO_CONTENT = reply("HTTP/1.1 204 No Content")


@dataclass(frozen=True)
class Letter:
    """One request: its request line, its header fields in lower case, its body."""

    line: str
    headers: dict[str, str]
    content: bytes


class Mailbox:
    """The receiver.

    Attributes:
        answers: What is answered, one after another; the last one stays.
        letters: What arrived.
        port: Where it listens.
    """

    def __init__(self, *answers: Answer) -> None:
        self.answers = deque(answers or (NO_CONTENT,))
        self.letters: list[Letter] = []
        self.arrived = asyncio.Condition()
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-1])}
            content = await reader.readexactly(int(headers.get("content-length", "0")))
            async with self.arrived:
                self.letters.append(Letter(head[0], headers, content))
                self.arrived.notify_all()
            await (self.answers.popleft() if len(self.answers) > 1 else self.answers[0])(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def wait_for(self, count: int) -> None:
        """Wait until so many letters have arrived."""
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.letters) >= count)


@asynccontextmanager
async def open_mailbox(mailbox: Mailbox, certificate: Path | None = None) -> AsyncIterator[Mailbox]:
    """Run a receiver on a free port while the block lasts; under TLS when there is a certificate."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = await asyncio.start_server(mailbox.answer, "127.0.0.1", 0, ssl=context)
    mailbox.port = server.sockets[0].getsockname()[1]
    yield mailbox
    server.close()
    await server.wait_closed()


def make_certificate(folder: Path, *names: str) -> Path:
    """Write a self-signed certificate for some names, with its key, and return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
