"""A JSON reply that carries a picture as base64, written piece by piece: the text is never in memory as a whole."""

import pybase64
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from imgapi.api.negotiation import JSON_TYPE, VARY

# A multiple of three, so that no piece but the last is padded.
PIECE_BYTES = 192 * 1024


class PictureJson(Response):
    """Answers with a model whose last field is the picture.

    Args:
        reply: The reply, its last field an empty string.
        picture: What that field shall be; base64 needs no escaping in JSON.
    """

    def __init__(self, reply: BaseModel, picture: bytes) -> None:
        *_, last = type(reply).model_fields
        empty = f'"{last}":""'
        head, _, tail = reply.model_dump_json().rpartition(empty)
        self._head = f"{head}{empty[:-1]}".encode()
        self._picture = picture
        self._tail = f'"{tail}'.encode()
        length = len(self._head) + -(-len(picture) // 3) * 4 + len(self._tail)
        super().__init__(media_type=JSON_TYPE, headers={**VARY, "Content-Length": str(length)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as any application
        """Send the answer, waiting wherever the client is slower."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, max(1, len(self._picture)), PIECE_BYTES):
            end = start + PIECE_BYTES
            is_last = end >= len(self._picture)
            parts = (
                b"" if start else self._head,
                pybase64.b64encode(self._picture[start:end]),
                self._tail if is_last else b"",
            )
            await send({"type": "http.response.body", "body": b"".join(parts), "more_body": not is_last})
