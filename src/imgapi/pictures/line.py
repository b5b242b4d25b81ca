"""The line in which calls wait for a worker, and who is served next."""

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from imgapi.pictures.signatures import sniff_format
from imgapi.pictures.worker_process import Job

# Icons, thumbnails and health checks: served first, since they take milliseconds.
SMALL_BYTES = 32 * 1024
_SMALL_IN_A_ROW = 4


@dataclass(slots=True, eq=False)
class Call:
    """One call that waits for a worker or is under way.

    Args:
        job: What it does.
    """

    job: Job
    future: "Future[Any]" = field(default_factory=Future)
    cancelled: bool = False
    # An SVG on the last worker has a moment; one that was not done in it waits for another worker.
    is_on_trial: bool = field(default=False, init=False)
    has_failed_trial: bool = field(default=False, init=False)
    is_svg: bool = field(init=False)
    is_small: bool = field(init=False)

    def __post_init__(self) -> None:
        pictures = [each for each in self.job.arguments if isinstance(each, bytes)]
        # How long a drawing takes, its size doesn't tell.
        self.is_svg = any(sniff_format(each) == "svg" for each in pictures)
        self.is_small = not self.is_svg and 0 < sum(map(len, pictures)) <= SMALL_BYTES


class Line:
    """Calls in the order in which they are served: small ones first, a large one after every few of them.

    Args:
        most_svg: How many SVGs may take their time at once, so that one worker is always left for pictures, or soon is:
            one more may be on trial there.
    """

    def __init__(self, most_svg: int) -> None:
        self._lock = threading.Lock()
        self._small: deque[Call] = deque()
        self._large: deque[Call] = deque()
        self._svg: deque[Call] = deque()
        self._slow: deque[Call] = deque()
        self._in_a_row = 0
        self._svg_left = most_svg
        self._is_svg_turn = False
        self._passed_over = 0

    def put(self, call: Call) -> None:
        """Add a call."""
        with self._lock:
            (self._svg if call.is_svg else self._small if call.is_small else self._large).append(call)

    def take(self) -> Call | None:
        """Take the next; there is one for every `put`, or for every `finish` that says so."""
        with self._lock:
            drawings = self._slow if self._slow and self._svg_left > 0 else self._svg
            others = [line for line in (self._large, drawings) if line]
            if not self._small and not others:
                self._passed_over += 1
                return None
            is_other_due = not self._small or (others and self._in_a_row >= _SMALL_IN_A_ROW)
            self._in_a_row = 0 if is_other_due else self._in_a_row + 1
            # The two take turns where both wait.
            call = (others[-1 if self._is_svg_turn else 0] if is_other_due else self._small).popleft()
            self._is_svg_turn = not call.is_svg
            call.is_on_trial = call.is_svg and self._svg_left <= 0
            self._svg_left -= call.is_svg
            return call

    def put_back(self, call: Call) -> None:
        """Have an SVG that was not done in its trial wait for a worker that is not the last; `take` follows."""
        with self._lock:
            self._svg_left += 1
            call.has_failed_trial = True
            self._slow.append(call)

    def finish(self, call: Call) -> bool:
        """Note that a call has ended; True when another, passed over before, may begin now."""
        with self._lock:
            self._svg_left += call.is_svg
            may_begin = call.is_svg and self._passed_over > 0
            self._passed_over -= may_begin
            return may_begin
