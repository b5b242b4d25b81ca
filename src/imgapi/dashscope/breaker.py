"""A circuit breaker: while the upstream can only say no, nobody asks it but one probe at a time."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from imgapi.clock import Clock
from imgapi.errors import ImgapiError, UpstreamMisconfigured, UpstreamUnavailable

_ACCOUNT = "account"
_HOST = "host"
UNREACHED_IN_A_ROW = 5
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class _Circuit:
    """One thing that can be broken: the host, the account, or one model's use.

    Args:
        error: What those are told who are refused meanwhile; None while the circuit is closed.
        until: When the next probe may go, on the monotonic clock.
        pause_seconds: How long the circuit stays open after the next failure.
        is_probed: Whether a probe is under way.
    """

    error: ImgapiError | None = None
    until: float = 0.0
    pause_seconds: float = FIRST_PAUSE_SECONDS
    is_probed: bool = False

    def is_waiting(self, now: float) -> bool:
        """Whether it is open and too early for a probe."""
        return self.error is not None and now < self.until

    def refuse(self) -> None:
        """Raise what opened it, if anything did."""
        if self.error is not None:
            raise type(self.error)(self.error.message, detail="refused without asking: the circuit is open")

    def open(self, now: float, error: ImgapiError) -> bool:
        """Open, or open again after a failed probe; return whether anything changed."""
        # Calls that were under way when it opened say nothing new.
        if self.error is not None and now < self.until:
            return False
        self.error = error
        self.until = now + self.pause_seconds
        self.pause_seconds = min(2 * self.pause_seconds, LONGEST_PAUSE_SECONDS)
        return True

    def close(self) -> bool:
        """Close; return whether it was open."""
        was_open = self.error is not None
        self.error, self.pause_seconds = None, FIRST_PAUSE_SECONDS
        return was_open


@dataclass(slots=True)
class Breaker:
    """Refuses work that the upstream would certainly refuse (docs/upstream.md#retries).

    A refused key or account, and a model that the account may not use, open at once; a host that can't be reached
    opens after five attempts in a row. The pause is 10 s, then 20, 40, 60; then one request goes as a probe.

    Args:
        clock: Time.
        announce: Told of each opening and closing, for the log: an event and what it is about.
    """

    clock: Clock
    announce: Callable[[str, str], object] = lambda _event, _subject: None
    _circuits: dict[str, _Circuit] = field(default_factory=lambda: defaultdict(_Circuit), init=False)
    _unreached: int = field(default=0, init=False)

    @contextmanager
    def attempt(self, model: str) -> Iterator[None]:
        """Go ahead with a request to a model, as the probe where one is due.

        Raises:
            UpstreamUnavailable: The host was not reached lately.
            UpstreamMisconfigured: The account, or its use of this model, was refused lately.
        """
        now = self.clock.monotonic()
        circuits = [self._circuits[name] for name in (_HOST, _ACCOUNT, model)]
        for circuit in circuits:
            if circuit.is_probed or circuit.is_waiting(now):
                circuit.refuse()
        probed = [circuit for circuit in circuits if circuit.error is not None]
        for circuit in probed:
            circuit.is_probed = True
        try:
            yield
        finally:
            for circuit in probed:
                circuit.is_probed = False

    def is_open(self, model: str) -> bool:
        """Whether another try now would be too early."""
        now = self.clock.monotonic()
        return any(self._circuits[name].is_waiting(now) for name in (_HOST, _ACCOUNT, model))

    def refuse_if_open(self, model: str) -> None:
        """Raise as `attempt` does where `is_open`; a probe that is under way goes on."""
        now = self.clock.monotonic()
        for name in (_HOST, _ACCOUNT, model):
            if self._circuits[name].is_waiting(now):
                self._circuits[name].refuse()

    def unreached(self, error: UpstreamUnavailable) -> None:
        """Note that no connection was made."""
        self._unreached += 1
        if self._unreached >= UNREACHED_IN_A_ROW or self._circuits[_HOST].error is not None:
            self._open(_HOST, error)

    def reached(self) -> None:
        """Note that the host answered, whatever it said."""
        self._unreached = 0
        self._close(_HOST)

    def refused(self, error: UpstreamMisconfigured, model: str | None) -> None:
        """Note that the account was refused, or its use of one model."""
        self._open(model or _ACCOUNT, error)

    def admitted(self, model: str) -> None:
        """Note that the key was good for a model, even if the request was not."""
        self._close(_ACCOUNT)
        self._close(model)

    def _open(self, name: str, error: ImgapiError) -> None:
        if self._circuits[name].open(self.clock.monotonic(), error):
            self.announce("circuit opened", name)

    def _close(self, name: str) -> None:
        if self._circuits[name].close():
            self.announce("circuit closed", name)
