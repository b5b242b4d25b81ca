"""The figures an emulator is built with: how fast, how much, how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

_MIB = 1024 * 1024


class Progress(StrEnum):
    """What moves a task towards its end."""

    AT_ONCE = "at_once"
    LOOKS = "looks"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an emulated task takes beyond the work itself.

    Args:
        progress: `AT_ONCE` ends a task when its pictures are made, `LOOKS` after it has been looked at, `SECONDS`
            after the usual run time of its model (`docs/upstream.md`).
        pending_looks: With `LOOKS`, how many looks see PENDING before the task may be scheduled.
        looks: With `LOOKS`, how many further looks see the task at work; the next one sees its end.
        factor: With `SECONDS`, what the usual run time is multiplied with.
        spread: With `SECONDS`, the largest relative departure from that, drawn from the seed; 0 to 1.
    """

    progress: Progress = Progress.AT_ONCE
    pending_looks: int = 0
    looks: int = 2
    factor: float = 1.0
    spread: float = 0.25


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` calls within any `seconds`."""

    count: int
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What the upstream grants one account for one model; `running=None` sets no bound."""

    submits: Rate
    running: int | None


@dataclass(frozen=True, slots=True)
class EmulatorConfig:
    """Everything an emulator can be told at the start.

    Args:
        public_url: Where callers reach the emulator; result links and the upload form lie below it.
        pace: How tasks progress; may be changed later over the control plane.
        enforce_limits: Whether submit and query rates and the number of running tasks are bounded at all.
        limits: Per-model limits that replace those of the catalogue.
        query_rate: Bound of each of the query, list and cancel calls, over the whole account.
        policy_rate: Bound of upload policies per model.
        lifetime_seconds: How long a finished task is known, and how long a result link is valid.
        upload_lifetime_seconds: How long an uploaded file may be used.
        policy_seconds: How long an upload policy may be used.
        internal_timeout_seconds: A task older than this ends with `InternalError.Timeout`.
        max_total_bytes: Bound of all pictures kept on disk; the oldest results go first.
        max_tasks: Bound of task records kept in memory.
        max_requests: Bound of the record of received requests.
        max_body_bytes: Bound of a JSON body, read or refused before it is parsed.
        max_upload_bytes: Bound of one uploaded file.
        seed: Where run times, random faults and default picture seeds are drawn from.
        retired: Models that answer as the upstream's retired models do.
        api_keys: The keys that are let in; None lets any non-empty key in.
        inspect_inputs: Whether pictures are fetched and looked at before a task is accepted, as upstream does.
    """

    public_url: str
    pace: Pace = field(default_factory=Pace)
    enforce_limits: bool = True
    limits: Mapping[str, ModelLimits] = field(default_factory=lambda: MappingProxyType({}))
    query_rate: Rate = field(default_factory=lambda: Rate(20))
    policy_rate: Rate = field(default_factory=lambda: Rate(100))
    lifetime_seconds: float = 86_400.0
    upload_lifetime_seconds: float = 172_800.0
    policy_seconds: float = 300.0
    internal_timeout_seconds: float = 10_800.0
    max_total_bytes: int = 512 * _MIB
    max_tasks: int = 2_000
    max_requests: int = 1_000
    max_body_bytes: int = 20 * _MIB
    max_upload_bytes: int = 20 * _MIB
    seed: int = 0
    retired: frozenset[str] = frozenset()
    api_keys: frozenset[str] | None = None
    inspect_inputs: bool = True
