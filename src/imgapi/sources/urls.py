"""Judges a caller's URL by its spelling alone: what may be looked up at all, and how it is written on the wire.

The same rules run before a download and before a paid submit, because the upstream fetches what we pass on. They
are narrower than RFC 3986 on purpose: what two parsers could read differently is refused, not repaired.
"""

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import SplitResult, quote, urlsplit

import idna

from imgapi.errors import InvalidParameter, SourceRefused
from imgapi.sources.addresses import Address, is_reachable

MAX_URL_CHARACTERS = 2048
WEB_PORTS = frozenset({80, 443})

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_HOST_CHARACTERS = 253
# An underscore is no host name by the letter, yet object stores serve pictures from such names.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_DOTTED_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)
_BRACKETED = re.compile(r"\[[^\[\]%]*\](?::[0-9]*)?", re.ASCII)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Everything RFC 3986 allows in a path or query, and "%", which starts an escape already written.
_KEPT_CHARACTERS = "/?:@!$&'()*+,;=-._~%[]"


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """An http(s) URL whose spelling leaves nothing to interpretation.

    Attributes:
        scheme: "http" or "https".
        host: Lower-case ASCII name (IDNA applied, no final dot), dotted IPv4, or IPv6 without brackets.
        port: The port, the scheme's own when none was written.
        target: Path and query as sent in the request line, ASCII only, starting with "/".
        address: The address, when the host is one.
    """

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None

    @property
    def authority(self) -> str:
        """The value of the Host header: host, and the port where it isn't the scheme's own."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The whole URL in its one spelling: ASCII only, without a fragment."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def place(self) -> str:
        """What messages may say of this URL: scheme and name, never the query (it may be signed) or an address."""
        return "the URL" if self.address is not None else f"{self.scheme}://{self.host}"

    def is_public(self, ports: frozenset[int] = WEB_PORTS) -> bool:
        """Tell whether the spelling is one that a public host can have; the addresses of a name are judged later."""
        if self.port not in ports:
            return False
        return "." in self.host if self.address is None else is_reachable(self.address)


def check_url(
    url: str,
    *,
    max_characters: int = MAX_URL_CHARACTERS,
    ports: frozenset[int] = WEB_PORTS,
    allow_private: bool = False,
) -> CheckedUrl:
    """Judge a URL before anything is looked up, and return it in its one spelling.

    Args:
        url: What the caller sent.
        max_characters: Longest URL, counted before and after percent-encoding.
        ports: The ports that may be dialled.
        allow_private: Let any port, single-label name and private address through (development only).

    Raises:
        InvalidParameter: It is empty, too long or not an http(s) URL that can be read.
        SourceRefused: It is of a kind that is never fetched.
    """
    checked = _read(url, max_characters)
    if allow_private or checked.is_public(ports):
        return checked
    if checked.port not in ports:
        allowed = " or ".join(str(port) for port in sorted(ports))
        raise SourceRefused(f"The port of the URL must be {allowed}.")
    if checked.address is not None:
        raise SourceRefused("The URL leads to an address that is not on the public internet.")
    raise SourceRefused("The host of the URL must be a full public name with a dot in it, such as images.example.com.")


def normalise_url(url: str) -> str:
    """Return the URL in its one spelling: IDNA host, path and query percent-encoded, no fragment.

    The upstream refuses raw Chinese characters in a URL (`docs/upstream.md#wanx21-imageedit`).

    Raises:
        InvalidParameter: It is empty or not an http(s) URL that can be read.
        SourceRefused: Its spelling is one that is never fetched.
    """
    return _read(url, MAX_URL_CHARACTERS).text


def check_characters(url: str, max_characters: int = MAX_URL_CHARACTERS) -> None:
    """Refuse what parsers are known to drop, repair or read differently, before any parser sees it.

    Raises:
        InvalidParameter: It is empty or longer than `max_characters`.
        SourceRefused: It holds a backslash, white space or a control character.
    """
    if not url:
        raise InvalidParameter("The URL is empty; send an http(s) URL or a data: URL of a picture.")
    if len(url) > max_characters:
        raise InvalidParameter(f"The URL is longer than {max_characters} characters; send a shorter one.")
    if "\\" in url:
        raise SourceRefused("The URL must not contain a backslash.")
    if any(character.isspace() or unicodedata.category(character) in {"Cc", "Cs"} for character in url):
        raise SourceRefused("The URL must not contain white space or control characters; percent-encode them.")


def _read(url: str, max_characters: int) -> CheckedUrl:
    """Apply the rules of spelling, which hold wherever the URL leads."""
    check_characters(url, max_characters)
    parts, port = _split(url)
    if parts.scheme not in _DEFAULT_PORTS:
        raise SourceRefused("The URL must start with http:// or https:// (or be a data: URL of a picture).")
    if "@" in parts.netloc:
        raise SourceRefused("The URL must not contain a user name or password before the host.")
    host, address = _read_host(parts)
    path = parts.path or "/"
    query = f"?{_encode(parts.query)}" if parts.query else ""
    target = f"{_encode(path)}{query}"
    checked = CheckedUrl(parts.scheme, host, _DEFAULT_PORTS[parts.scheme] if port is None else port, target, address)
    if len(checked.text) > max_characters:
        raise InvalidParameter(f"The URL is longer than {max_characters} characters once it is percent-encoded.")
    return checked


def _split(url: str) -> tuple[SplitResult, int | None]:
    """Take the URL apart; the port is None where none is written."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InvalidParameter("The URL cannot be read; send one such as https://example.com/photo.jpg.") from exc
    if port == 0:
        raise SourceRefused("The port of the URL must not be 0.")
    return parts, port


def _read_host(parts: SplitResult) -> tuple[str, Address | None]:
    """Return the host in its one spelling, and its address when it is one."""
    host = parts.hostname or ""
    if not host:
        raise InvalidParameter("The URL names no host; send one such as https://example.com/photo.jpg.")
    if "[" in parts.netloc or "]" in parts.netloc:
        return _read_ipv6(host, parts.netloc)
    # No name gets shorter by encoding; a bound before it keeps a hostile one cheap.
    name = host if len(host) > _MAX_HOST_CHARACTERS else _to_ascii(host)
    labels = name.removesuffix(".").split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        return _read_ipv4(host)
    if len(name) > _MAX_HOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidParameter("The host of the URL is not a name that can be looked up.")
    return name.removesuffix("."), None


def _to_ascii(host: str) -> str:
    """Apply IDNA 2008 with UTS 46 mapping, once and only to names that need it."""
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True, std3_rules=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as exc:
        raise InvalidParameter("The host of the URL is not a valid internationalised name.") from exc


def _read_ipv4(host: str) -> tuple[str, IPv4Address]:
    """Read dotted decimal as written: no octal, hexadecimal, short or full-width form, no final dot."""
    if _DOTTED_IPV4.fullmatch(host):
        try:
            address = IPv4Address(host)
        except AddressValueError:
            pass  # out of range, or with leading zeros that some parsers take for octal
        else:
            return str(address), address
    raise SourceRefused("A numeric host in the URL must be written as four plain decimal numbers, such as 192.0.2.1.")


def _read_ipv6(host: str, netloc: str) -> tuple[str, IPv6Address]:
    """Read what stands between the brackets; nothing but a port may follow them, and a zone means a local link."""
    if not _BRACKETED.fullmatch(netloc):
        raise SourceRefused("A numeric IPv6 host in the URL must stand in brackets and carry no zone.")
    try:
        address = IPv6Address(host)
    except AddressValueError as exc:
        raise SourceRefused("The URL has no valid IPv6 address between the brackets.") from exc
    return str(address), address


def _encode(part: str) -> str:
    """Percent-encode what a request line can't carry; escapes already written stay as they are."""
    return quote(_STRAY_PERCENT.sub("%25", part), safe=_KEPT_CHARACTERS)
