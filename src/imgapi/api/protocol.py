"""HTTP/1.1 as uvicorn speaks it, with the documented shape for what is no HTTP either."""

import uuid

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from imgapi.contract.errors import ErrorReply


class DocumentedProtocol(H11Protocol):
    """Answers a broken request in JSON; no application sees one, so uvicorn's own words would be plain text."""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, in place of which ours go out
        """Refuse what can't be read as a request, and close the connection."""
        request_id = uuid.uuid4().hex
        reply = ErrorReply(
            error="This is not a valid HTTP/1.1 request; send it with an HTTP client.",
            code="invalid_request",
            request_id=request_id,
        )
        body = reply.model_dump_json(exclude_none=True).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()
