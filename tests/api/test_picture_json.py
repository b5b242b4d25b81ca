"""A picture inside JSON, sent piece by piece."""

import base64
import json
from typing import Any

import pytest

from imgapi.api.picture_json import PIECE_BYTES, PictureJson
from imgapi.contract.utils import ResizeReply


async def _sent(picture: bytes) -> list[dict[str, Any]]:
    messages: list[Any] = []
    reply = ResizeReply(success=True, original_size="9x9px", resized_size="3x3px", image_data="")

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        raise AssertionError("an answer has nothing to receive")

    await PictureJson(reply, picture)({"type": "http"}, receive, send)
    return messages


@pytest.mark.parametrize("size", [0, 1, 5, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 2])
async def test_pieces_are_one_document_of_the_length_told(size: int) -> None:
    """Whatever the picture's size, the pieces together are the model's JSON with the picture, as long as announced."""
    picture = bytes(number % 251 for number in range(size))
    start, *pieces = await _sent(picture)
    body = b"".join(piece["body"] for piece in pieces)
    assert start["status"] == 200
    assert dict(start["headers"])[b"content-length"] == str(len(body)).encode()
    read = json.loads(body)
    assert list(read) == list(ResizeReply.model_fields)
    assert read["original_size"] == "9x9px"
    assert base64.b64decode(read["image_data"], validate=True) == picture
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]


async def test_no_piece_holds_the_whole_of_a_large_picture() -> None:
    """A large picture's text is made piece by piece, none much larger than the others."""
    _, *pieces = await _sent(bytes(4 * PIECE_BYTES))
    assert len(pieces) == 4
    assert max(len(piece["body"]) for piece in pieces) < PIECE_BYTES * 4 // 3 + 200
