"""What a caller asks for in the header of a request: how long to be held, once only, told where."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Header, Request

from imgapi.errors import InvalidParameter
from imgapi.tasks.record import Payer, Terms

if TYPE_CHECKING:
    from imgapi.api.keys import Key

MAX_KEY_CHARACTERS = 255
# RFC 7240: `respond-async`, `wait=20`, several separated by commas; a value may be quoted, commas and all.
_PART = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^,])+')
_PREFERENCE = re.compile(r'([!#$%&\'*+.^_`|~\w-]+)(?:\s*=\s*(?:"([^"]*)"|([^\s,;]*)))?')


@dataclass(frozen=True, slots=True)
class Preference:
    """How long a caller wants to be held.

    Args:
        says_async: Whether it says `respond-async`.
        wait_seconds: How long it waits at most; None is no word about it.
    """

    says_async: bool = False
    wait_seconds: int | None = None

    @property
    def is_async(self) -> bool:
        """Whether it wants the task rather than wait for its end: `wait` alone means that too."""
        return self.says_async or self.wait_seconds is not None

    def within(self, most_seconds: float) -> tuple[int, str]:
        """Bound the wait; return it in seconds, and what the answer says was applied (`Preference-Applied`)."""
        seconds = min(self.wait_seconds or 0, int(most_seconds))
        words = ["respond-async"] if self.says_async else []
        if self.wait_seconds is not None:
            words.append(f"wait={seconds}")
        return seconds, ", ".join(words)


def read_preference(text: str) -> Preference:
    """Read a `Prefer` field (RFC 7240); what is not understood in it is passed over, as the RFC has it."""
    says_async, wait = False, None
    for part in _PART.findall(text):
        match = _PREFERENCE.match(part.strip())
        if match is None:
            continue
        name, value = match[1].lower(), match[2] or match[3] or ""
        if name == "respond-async":
            says_async = True
        elif name == "wait" and wait is None and value.isascii() and value.isdigit() and len(value) <= len("86400"):
            wait = int(value)
    return Preference(says_async, wait)


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request asks for."""

    preference: Preference
    terms: Terms


def payer_of(request: Request) -> Payer:
    """Say whose request it is."""
    key: Key | None = getattr(request.state, "key", None)
    return Payer() if key is None else Payer(key.name, key.images_per_month)


def asking(default_webhook: str | None, check_webhook: Callable[[str], str]) -> Callable[..., Asked]:
    """Make the dependency that reads these fields.

    Args:
        default_webhook: Told where a request names none.
        check_webhook: Judges a URL; raises InvalidParameter.
    """

    def read(
        request: Request,
        prefer: Annotated[
            str | None,
            Header(
                description=(
                    "`respond-async` answers 202 with the task at once; "
                    "`wait=20` waits so many seconds for its end first."
                ),
                examples=["respond-async"],
            ),
        ] = None,
        idempotency_key: Annotated[
            str | None,
            Header(
                description=(
                    "Any text of up to 255 characters that names this request, a UUID say. Sent again within 24 hours "
                    "with the same body it leads to the same task, and nothing is paid twice."
                ),
                json_schema_extra={"pattern": f"^[!-~]([ -~]{{0,{MAX_KEY_CHARACTERS - 2}}}[!-~])?$"},
            ),
        ] = None,
        imgapi_webhook: Annotated[
            str | None,
            Header(
                description="An https URL that is told the end of the task; signed by the Standard Webhooks scheme.",
                json_schema_extra={"format": "uri", "pattern": "^https://"},
            ),
        ] = None,
    ) -> Asked:
        if idempotency_key is not None and not _is_key(idempotency_key):
            message = f"must have 1 to {MAX_KEY_CHARACTERS} printable ASCII characters"
            raise InvalidParameter(message, field="Idempotency-Key")
        webhook = default_webhook if imgapi_webhook is None else check_webhook(imgapi_webhook)
        # A field sent several times counts as one with commas; the framework shows the last alone.
        preference = read_preference(", ".join(request.headers.getlist("prefer")) if prefer is not None else "")
        return Asked(preference, Terms(payer_of(request), idempotency_key, webhook))

    return read


def _is_key(text: str) -> bool:
    return 1 <= len(text) <= MAX_KEY_CHARACTERS and all(" " <= character <= "~" for character in text)
