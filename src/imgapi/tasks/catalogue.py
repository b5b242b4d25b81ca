"""The edits as this installation offers them: which model serves one now, in which lane, for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgapi.clock import Clock
from imgapi.edits.edit import Candidate, Edit
from imgapi.edits.models import ModelLimits
from imgapi.tasks.forecast import Forecast, RunTimes

LOCAL_LANE = "local"


class Log(Protocol):
    """Where the events of a task are written; each with the task's id."""

    def info(self, event: str, **fields: Any) -> Any:
        """Write an event of ordinary life."""
        ...

    def warning(self, event: str, **fields: Any) -> Any:
        """Write an event that an operator should look at."""
        ...


@dataclass(slots=True)
class RetiredModels:
    """The models that the upstream refused as retired or unknown, remembered for a while.

    Args:
        clock: Time.
        seconds: How long a model is passed over before it is tried again.
    """

    clock: Clock
    seconds: float = 3600.0
    _until: dict[str, float] = field(default_factory=dict, init=False)

    def __contains__(self, model: object) -> bool:
        return isinstance(model, str) and self._until.get(model, 0.0) > self.clock.monotonic()

    def remember(self, model: str) -> bool:
        """Remember a model as retired; return whether that is news."""
        is_news = model not in self
        self._until[model] = self.clock.monotonic() + self.seconds
        return is_news


@dataclass(slots=True)
class Catalogue:
    """The edits as this installation offers them.

    Args:
        edits: Those that run upstream, by operation.
        limits: What the account may ask of each model.
        account: Names the upstream account in the names of lanes.
        local_places: How many local edits may run at once.
        retired: Models to pass over.
        forecast: Run times as they were seen.
    """

    edits: Mapping[str, Edit[Any, Any]]
    limits: Mapping[str, ModelLimits]
    account: str
    local_places: int
    retired: RetiredModels
    forecast: Forecast = field(default_factory=Forecast)

    def candidate(self, operation: str) -> Candidate[Any] | None:
        """The first model that serves an edit now; None when every one is gone."""
        return next((each for each in self.edits[operation].candidates if each.model not in self.retired), None)

    def lane(self, model: str) -> str:
        """The name of a model's lane."""
        return f"{self.account}/{model}"

    def times(self, operation: str, model: str, wanted: int) -> RunTimes:
        """The run times of one kind of task."""
        usual = {each.model: each.usual_seconds for each in self.edits[operation].candidates}
        return self.forecast.of(f"{operation}/{model}/{wanted}", usual.get(model, 10.0))
