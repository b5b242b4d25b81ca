"""What the emulator answers with, before any of it becomes ASGI messages."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

WARNINGS_HEADER: Final = "X-Imgapi-Warnings"
IGNORED_HEADER: Final = "X-Imgapi-Ignored"
MISSING_PARAMETERS: Final = (
    "The request is missing required parameters or in a wrong format, please check the parameters that you send."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer, its body in memory."""

    status: int
    body: bytes = b""
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class Refusal(Exception):
    """A request the upstream would refuse, with its status, code and message.

    Args:
        status: HTTP status.
        code: One of the upstream's codes (`docs/upstream.md`).
        message: The upstream's words.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class TaskFailure(Exception):
    """Why an accepted task ends FAILED, in the upstream's code and words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str = MISSING_PARAMETERS) -> Refusal:
    """Refuse for a parameter that is missing, of a wrong type or out of range."""
    return Refusal(400, "InvalidParameter", message)


def new_request_id() -> str:
    """Name one exchange; every answer carries its own."""
    return str(uuid.uuid4())


def json_answer(status: int, document: Mapping[str, object]) -> Answer:
    """Write a document as JSON, UTF-8 unescaped; a lone surrogate becomes a question mark."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Answer(status, text.encode("utf-8", errors="replace"))


def told(answer: Answer, warnings: Sequence[str], ignored: Sequence[str]) -> Answer:
    """Add what a painter told of its pictures, as headers: the body stays exactly the upstream's."""
    names = {WARNINGS_HEADER: warnings, IGNORED_HEADER: ignored}
    added = {name: ", ".join(words) for name, words in names.items() if words}
    return replace(answer, headers={**answer.headers, **added})


def error_answer(status: int, code: str, message: str) -> Answer:
    """Write the upstream's flat error document."""
    return json_answer(status, {"code": code, "message": message, "request_id": new_request_id()})


def refusal_answer(refusal: Refusal) -> Answer:
    """Write a refusal as the upstream's flat error document."""
    return error_answer(refusal.status, refusal.code, refusal.message)


def storage_error(status: int, code: str, message: str) -> Answer:
    """Write an error as the object storage does: XML. Code and message are ours, never the caller's words."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error>\n  <Code>{code}</Code>\n  <Message>{message}</Message>\n"
        f"  <RequestId>{uuid.uuid4().hex[:24].upper()}</RequestId>\n</Error>\n"
    )
    return Answer(status, text.encode(), "application/xml")
