"""Scripted faults: which call is to go wrong, and how (`docs/emulator.md`)."""

import random
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_MAX_RULES = 1_000
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]?([\x20-\x7e\t]*[\x21-\x7e])?")


class ConnectionCut(ConnectionError):
    """The scripted end of a connection, where there is no socket to cut."""


class CallKind(StrEnum):
    """The calls a fault can be scripted for."""

    SUBMIT = "submit"
    POLL = "poll"
    LIST = "list"
    CANCEL = "cancel"
    POLICY = "policy"
    UPLOAD = "upload"
    RESULT = "result"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Match(_Strict):
    """Which calls a rule is about; a field left out matches everything. `nth` counts the matching calls from 1."""

    call: CallKind | None = None
    nth: Annotated[int, Field(ge=1)] | None = None
    model: str | None = None
    task: str | None = None


class Effect(_Strict):
    """What goes wrong. Fields may be combined; one left out changes nothing.

    `status`, `headers`, `body`, `code`, `message`, `html` and `bad_json` replace the answer; nothing is then accepted,
    unless `accept_anyway` lets the call take its course first. `delay_seconds` holds the answer back and `drip_seconds`
    is the pause after each byte. `cut` ends the connection: `sending` before the body is read, `before` acceptance or
    `after` it; `cut_after_bytes` ends it within the answer, `short_body` after half of the length it announced.
    For a submit, `hold` keeps the task PENDING or RUNNING, `fail` ends it with a code, `fail_items` makes the items of
    these 1-based numbers fail, `expire_result` signs links that are already expired and `retired` refuses the model.
    For a poll, `task_status` is answered in place of the true status, without the rest.
    For a result, `expire_result` answers that the link is expired.
    """

    status: Annotated[int, Field(ge=200, le=599)] | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | None = None
    code: str | None = None
    message: str | None = None
    html: bool = False
    bad_json: bool = False
    accept_anyway: bool = False
    delay_seconds: Annotated[float, Field(ge=0, le=3600)] = 0.0
    drip_seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    cut: Literal["sending", "before", "after"] | None = None
    cut_after_bytes: Annotated[int, Field(ge=0)] | None = None
    short_body: bool = False
    hold: Literal["PENDING", "RUNNING"] | None = None
    fail: str | None = None
    fail_items: tuple[Annotated[int, Field(ge=1)], ...] = ()
    task_status: str | None = None
    expire_result: bool = False
    retired: bool = False

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"the header {name!r} can't be sent")
        return headers

    @property
    def replaces_answer(self) -> bool:
        """Whether the true answer is never seen."""
        return self.status is not None or self.body is not None or self.code is not None or self.html or self.bad_json

    @property
    def prevents(self) -> bool:
        """Whether the call must not take effect."""
        if self.cut in {"sending", "before"}:
            return True
        return self.replaces_answer and not self.accept_anyway

    def fields_for(self) -> dict[str, frozenset[CallKind]]:
        """Map each special field in use to the calls it means something for."""
        submit, poll = frozenset({CallKind.SUBMIT}), frozenset({CallKind.POLL})
        used = {
            "hold": (self.hold is not None, submit),
            "fail": (self.fail is not None, submit),
            "fail_items": (bool(self.fail_items), submit),
            "retired": (self.retired, submit),
            "task_status": (self.task_status is not None, poll),
            "expire_result": (self.expire_result, submit | {CallKind.RESULT}),
        }
        return {name: calls for name, (in_use, calls) in used.items() if in_use}


class Rule(_Strict):
    """A fault that strikes `times` times (None: for ever), each time with the probability `chance`."""

    match: Match = Field(default_factory=Match)
    do: Effect
    times: Annotated[int, Field(ge=1)] | None = 1
    chance: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _effect_fits_call(self) -> Self:
        if self.do.cut == "sending" and (self.match.model or self.match.task):
            raise ValueError("a cut while sending comes before the model and the task are known")
        for name, calls in self.do.fields_for().items():
            if self.match.call not in calls:
                raise ValueError(f"{name} needs match.call to be one of {', '.join(sorted(calls))}")
        return self


class _LiveRule:
    """A rule and how often it has matched and struck."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.seen = 0
        self.struck = 0

    @property
    def is_spent(self) -> bool:
        return self.rule.times is not None and self.struck >= self.rule.times

    def covers(self, call: CallKind, model: str | None, task: str | None) -> bool:
        match = self.rule.match
        return match.call in {None, call} and match.model in {None, model} and match.task in {None, task}


class FaultScript:
    """The faults still to come, in the order they were scripted; the first that fits a call strikes.

    Args:
        seed: Where the draws of `chance` come from.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._rules: list[_LiveRule] = []
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose, no secret

    def script(self, *rules: Rule | Mapping[str, object]) -> None:
        """Add rules, as objects or in the shape of the control plane: `{"match": {…}, "do": {…}, "times": 1}`.

        Raises:
            ValueError: A rule has an unknown field or a wrong value, or there are too many rules.
        """
        checked = [rule if isinstance(rule, Rule) else Rule.model_validate(rule) for rule in rules]
        if len(self._rules) + len(checked) > _MAX_RULES:
            raise ValueError(f"at most {_MAX_RULES} rules can be scripted")
        self._rules.extend(_LiveRule(rule) for rule in checked)

    def strikes(self, call: CallKind, model: str | None, task: str | None, *, sending: bool) -> Effect | None:
        """Count a call and return the fault that strikes it, if one does.

        With `sending`, the body is not read yet: only cuts in that phase are weighed; otherwise only the others.
        """
        chosen: Effect | None = None
        for live in self._rules:
            rule = live.rule
            if (rule.do.cut == "sending") is not sending or not live.covers(call, model, task) or live.is_spent:
                continue
            live.seen += 1
            due = rule.match.nth in {None, live.seen}
            if chosen is None and due and (rule.chance >= 1.0 or self._random.random() < rule.chance):
                live.struck += 1
                chosen = rule.do
        self._rules = [live for live in self._rules if not live.is_spent]
        return chosen

    def waiting(self) -> list[dict[str, object]]:
        """Describe the rules that may still strike."""
        return [
            {**live.rule.model_dump(mode="json", exclude_defaults=True), "seen": live.seen, "struck": live.struck}
            for live in self._rules
        ]

    def reset(self) -> None:
        """Forget every rule and start the draws anew."""
        self._rules.clear()
        self._random = random.Random(self._seed)  # noqa: S311 - repeatable on purpose, no secret
