"""A webhook receiver on the loopback that writes down what arrives, and can keep the sender waiting."""

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

HOLD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook request: when it arrived by the monotonic clock, its headers in lower case, its body."""

    at: float
    headers: dict[str, str]
    content: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        document: dict[str, Any] = json.loads(self.content)
        return document

    @property
    def event_id(self) -> str:
        """The `webhook-id`, the same for every attempt at one event."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> str:
        """The event's type."""
        return str(self.document["type"])

    @property
    def task_id(self) -> str:
        """The task the event is about."""
        return str(self.document["data"]["task_id"])


class Receiver:
    """The receiver; use as a context manager.

    Attributes:
        url: Where webhooks are sent.
        deliveries: Everything that arrived, held requests included, in order.
        answer_seconds: How long every answer takes.
    """

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.answer_seconds = 0.0
        self._told: dict[str, list[Delivery]] = {}
        self._go = threading.Event()
        self._go.set()
        self._http = _Quiet(("127.0.0.1", 0), self._make_handler())
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def hold(self) -> None:
        """From now on, keep senders waiting for their answer."""
        self._go.clear()

    def release(self) -> None:
        """Answer everybody who waits, and whoever comes later at once."""
        self._go.set()

    def of(self, task_id: str) -> list[Delivery]:
        """Return what arrived about one task."""
        return list(self._told.get(task_id, ()))

    def _take(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._told.setdefault(delivery.task_id, []).append(delivery)

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver._take(Delivery(time.monotonic(), headers, content))
                time.sleep(receiver.answer_seconds)
                receiver._go.wait(HOLD_SECONDS)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


class _Quiet(ThreadingHTTPServer):
    """A server whose sender may be killed in mid-request."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A sender that is gone is no error here."""
