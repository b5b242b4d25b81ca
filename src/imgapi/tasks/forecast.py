"""When a task will probably end: learned run times, and the polls that follow from them."""

import statistics
from collections import deque
from dataclasses import dataclass, field

REMEMBERED = 64
# Before anything is learned, the usual run time counts as this many observations, with this spread.
PRIOR_WEIGHT = 2
PRIOR_SPREAD = 0.15
# A first look this soon finds failed downloads and refused pictures, which end at once.
FIRST_LOOK_SECONDS = 1.5
PENDING_SECONDS = 2.0
SHORTEST_SECONDS = 0.3
LONGEST_SECONDS = 4.0


@dataclass(slots=True)
class RunTimes:
    """The run times seen of one kind of task (one model, one function, one count of pictures); seconds."""

    usual_seconds: float
    seen: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def learn(self, seconds: float) -> None:
        """Remember how long a task ran."""
        if seconds >= 0:
            self.seen.append(seconds)

    def centre_and_spread(self) -> tuple[float, float]:
        """The middle of the run times and their spread (one standard deviation), robust against outliers."""
        count = len(self.seen)
        prior = (self.usual_seconds, PRIOR_SPREAD * self.usual_seconds)
        if count == 0:
            return prior
        middle = statistics.median(self.seen)
        deviation = 1.48 * statistics.median(abs(value - middle) for value in self.seen)
        # With few observations their own spread says little; the prior's holds the schedule open.
        weight = PRIOR_WEIGHT / (PRIOR_WEIGHT + count)
        centre = middle if count > PRIOR_WEIGHT else (middle * count + prior[0] * PRIOR_WEIGHT) / (count + PRIOR_WEIGHT)
        spread = max(deviation, 0.03 * middle) * (1 - weight) + PRIOR_SPREAD * middle * weight
        return centre, spread

    def next_look(self, elapsed: float) -> float:
        """Seconds from now to the next look at a task that has run for `elapsed` seconds.

        Rarely before the end is likely, closely around it, ever more rarely past it.
        """
        centre, spread = self.centre_and_spread()
        opening = max(0.0, centre - 1.3 * spread)
        if elapsed < opening:
            if elapsed < FIRST_LOOK_SECONDS < opening - 1.0:
                return FIRST_LOOK_SECONDS - elapsed
            return max(SHORTEST_SECONDS, opening - elapsed)
        closely = min(0.75, max(SHORTEST_SECONDS, 0.45 * spread))
        late = elapsed - (centre + 2.0 * spread)
        if late <= 0:
            return closely
        return min(LONGEST_SECONDS, closely + late * 0.25)


@dataclass(slots=True)
class Forecast:
    """The run times of every kind of task."""

    kinds: dict[str, RunTimes] = field(default_factory=dict)

    def of(self, kind: str, usual_seconds: float) -> RunTimes:
        """The run times of a kind, made at its first use."""
        return self.kinds.setdefault(kind, RunTimes(usual_seconds))
