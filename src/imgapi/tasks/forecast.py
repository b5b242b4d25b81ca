"""When a task will probably end: learned run times, and the polls that follow from them."""

import statistics
from collections import deque
from dataclasses import dataclass, field

REMEMBERED = 64
# With fewer observations than this, a kind of task is unfamiliar: the usual run time still counts for two.
FAMILIAR = 3
PRIOR_WEIGHT = 2
# As a share of the run time; it counts as so many observations, since a few show too little of the true spread.
PRIOR_SPREAD = 0.15
PRIOR_SPREAD_WEIGHT = 16
# A first look this soon finds failed downloads and refused pictures, which end at once.
FIRST_LOOK_SECONDS = 1.5
# Further looks at a task of an unfamiliar kind: it may end far sooner than the usual run time has it.
EARLY_LOOKS_SECONDS = (FIRST_LOOK_SECONDS, 3.0, 5.0, 8.0)
PENDING_SECONDS = 2.0
SHORTEST_SECONDS = 0.3
LONGEST_SECONDS = 4.0


@dataclass(slots=True)
class RunTimes:
    """The run times seen of one kind of task (one model, one function, one count of pictures); seconds."""

    usual_seconds: float
    seen: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    # Shortly before their end such tasks are of a status of their own, and no longer among those that run.
    has_late_stage: bool = False

    def learn(self, seconds: float) -> None:
        """Remember how long a task ran."""
        if seconds >= 0:
            self.seen.append(seconds)

    @property
    def is_familiar(self) -> bool:
        """Whether enough was seen to forget the usual run time."""
        return len(self.seen) >= FAMILIAR

    def centre_and_spread(self) -> tuple[float, float]:
        """The middle of the run times and their spread (one standard deviation), robust against outliers."""
        count = len(self.seen)
        prior = (self.usual_seconds, PRIOR_SPREAD * self.usual_seconds)
        if count == 0:
            return prior
        # The mean of the middle half: steadier than the median, and as deaf to outliers.
        ordered = sorted(self.seen)
        cut = count // 4
        middle = statistics.mean(ordered[cut : count - cut])
        deviation = 1.48 * statistics.median(abs(value - middle) for value in self.seen)
        # With few observations their own spread says little; the prior's holds the schedule open.
        weight = PRIOR_SPREAD_WEIGHT / (PRIOR_SPREAD_WEIGHT + count)
        centre = middle if self.is_familiar else (middle * count + prior[0] * PRIOR_WEIGHT) / (count + PRIOR_WEIGHT)
        spread = max(deviation, 0.03 * middle) * (1 - weight) + PRIOR_SPREAD * middle * weight
        return centre, spread

    def next_look(self, elapsed: float) -> float:
        """Seconds from now to the next look at a task that has run for `elapsed` seconds.

        Rarely before the end is likely, closely around it, ever more rarely past it.
        """
        centre, spread = self.centre_and_spread()
        opening = max(0.0, centre - (1.6 if self.is_familiar else 1.3) * spread)
        if elapsed < opening:
            early = EARLY_LOOKS_SECONDS[:1] if self.is_familiar else EARLY_LOOKS_SECONDS
            # A look that has just been made isn't made again because the task began a little after its submit.
            looks = (look for look in early if elapsed + SHORTEST_SECONDS < look < opening - 1.0)
            return max(SHORTEST_SECONDS, next(looks, opening) - elapsed)
        closely = min(0.8, max(SHORTEST_SECONDS, 0.45 * spread))
        if not self.is_familiar:
            # Looks in a window that may be the wrong one are worth less.
            closely = max(closely, min(1.1, 0.09 * centre))
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
