"""The life of an edit: paid once, never lost, ended in time, told in one sentence."""

import asyncio
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import httpx
import pytest

from fakes import Step, answers, fails, refuses, slowly
from house import FIX, URL, UUID, House
from imgapi.contract.edits import (
    ChangeBgRequest,
    ChangeClothRequest,
    PicturesReply,
    RemoveBgRequest,
    TaskMetrics,
)
from imgapi.dashscope.client import ModelRetired
from imgapi.edits.catalogue import EDITS
from imgapi.errors import (
    ContentRefused,
    EditFailed,
    ImgapiError,
    InvalidParameter,
    Overloaded,
    PictureUnsuitable,
    SourceUnreachable,
    StillRunning,
    TaskLost,
    UpstreamMisconfigured,
    UpstreamThrottled,
    UpstreamUnavailable,
)

CLOTH = ChangeClothRequest(top_garment_url=URL, bottom_garment_url=URL, person_image_url=URL)
GONE = refuses(403, "Endpoint.AccessDenied", "Workspace endpoint access denied.")
TIME = re.compile(r"2026-05-04 10:\d\d:\d\d\.\d{3}")


async def test_an_edit_answers_the_documented_reply() -> None:
    """An edit is submitted once, followed to its end and answered with the upstream's links and times."""
    house = House()
    house.preparer.changes = ("resized 300x200 to 768x512",)
    reply = await house.run()
    assert isinstance(reply, PicturesReply)
    assert UUID.fullmatch(reply.task_id)
    assert reply.upstream_task_id == "up-1"
    assert reply.engine == "dashscope:wanx2.1-imageedit"
    assert [link.url for link in reply.results] == ["https://results.test/up-1.png"]
    assert reply.task_metrics == TaskMetrics(TOTAL=1, SUCCEEDED=1, FAILED=0)
    assert reply.prepared == ["resized 300x200 to 768x512"]
    assert TIME.fullmatch(reply.submit_time)
    assert TIME.fullmatch(reply.scheduled_time)
    assert TIME.fullmatch(reply.end_time)
    assert len(house.upstream.submits) == 1


async def test_the_intent_is_written_before_the_submit_and_the_id_right_after() -> None:
    """At every instant the log tells whether a submit may be out, and what came of it."""
    house = House()
    before: list[list[str]] = []
    house.upstream.before_submit = lambda: before.append([name for name, _ in house.log.events])
    reply = await house.run()
    assert before == [["edit accepted", "submit intended"]]
    assert [name for name, _ in house.log.events] == [
        "edit accepted",
        "submit intended",
        "submit accepted",
        "edit succeeded",
    ]
    assert {fields["task_id"] for _, fields in house.log.events} == {reply.task_id}
    assert house.log.named("submit intended")[0]["model"] == "wanx2.1-imageedit"
    assert house.log.named("submit accepted")[0]["upstream_task_id"] == "up-1"


async def test_a_caller_who_hangs_up_cancels_nothing() -> None:
    """The task goes on without its caller, and its end is in the log."""
    house = House()
    caller = asyncio.create_task(house.hold("fix", FIX))
    await house.clock.advance(3.0)
    caller.cancel()
    await house.clock.settle()
    assert caller.cancelled()
    assert not house.log.named("edit succeeded")
    await house.clock.advance(60.0)
    assert house.log.named("edit succeeded")
    assert not house.upstream.cancels


async def test_a_failure_after_the_caller_hung_up_is_logged() -> None:
    """Nobody waits for the error, so the log has it, and nothing is left unread."""
    house = House()
    house.upstream.output = {"results": [{"code": "InternalError.Algo", "message": "algorithm process error"}]}
    caller = asyncio.create_task(house.hold("fix", FIX))
    await house.clock.advance(3.0)
    caller.cancel()
    await house.clock.advance(60.0)
    (failure,) = house.log.named("edit failed")
    assert failure["reason"] == "EditFailed"
    assert "InternalError.Algo" in failure["detail"]


@pytest.mark.parametrize(
    "refusal",
    [GONE, refuses(404, "ModelNotFound"), refuses(400, "InvalidParameter", "Model not exist.")],
)
async def test_a_retired_model_gives_way_to_the_next(refusal: Step) -> None:
    """A model that is gone is passed over for the next, told once in the log, and not asked again for a while."""
    house = House()
    house.upstream.scripts["aitryon-plus"] = [refusal]
    reply = await house.run("change_cloth", CLOTH)
    assert reply.engine == "dashscope:aitryon"
    assert house.upstream.models == ["aitryon-plus", "aitryon"]
    await house.run("change_cloth", CLOTH)
    assert house.upstream.models == ["aitryon-plus", "aitryon", "aitryon"]
    (warning,) = house.log.named("model retired")
    assert warning["model"] == "aitryon-plus"
    await house.clock.advance(3600.0)
    await house.run("change_cloth", CLOTH)
    assert house.upstream.models[3:] == ["aitryon-plus", "aitryon"]


async def test_a_model_retired_for_uploads_gives_way_too() -> None:
    """A model whose upload policy is refused as retired is passed over before any submit."""
    house = House()
    house.preparer.refused_models["aitryon-plus"] = ModelRetired("gone")
    reply = await house.run("change_cloth", CLOTH)
    assert reply.engine == "dashscope:aitryon"
    assert house.upstream.models == ["aitryon"]


async def test_tasks_that_meet_a_retired_model_together_log_it_once() -> None:
    """Several edits that are refused at the same time are one piece of news."""
    house = House()
    house.upstream.scripts["aitryon-plus"] = [slowly(house.clock, 2.0, GONE)]
    await house.clock.run(asyncio.gather(*(house.hold("change_cloth", CLOTH) for _ in range(4))))
    assert len(house.log.named("model retired")) == 1


async def test_when_every_model_is_gone_the_operator_has_to_act() -> None:
    """With no model left the edit is refused as the operator's to mend, later even without asking."""
    house = House()
    for model in EDITS["fix"].model_names:
        house.upstream.scripts[model] = [GONE]
    await house.fail(UpstreamMisconfigured)
    assert house.upstream.models == list(EDITS["fix"].model_names)
    with pytest.raises(UpstreamMisconfigured):
        await house.accept()
    assert len(house.upstream.submits) == 3


NO_FALL_THROUGH: list[tuple[Step, type[ImgapiError], int]] = [
    (fails(httpx.ReadError("reset")), TaskLost, 1),
    (answers(502, content=b"<html>"), TaskLost, 1),
    (answers(200, None), TaskLost, 1),
    (fails(httpx.ConnectError("refused")), UpstreamUnavailable, 3),
    (refuses(429, "Throttling"), UpstreamThrottled, 3),
    (refuses(401, "InvalidApiKey"), UpstreamMisconfigured, 1),
    (refuses(403, "Model.AccessDenied"), UpstreamMisconfigured, 1),
    (refuses(400, "Arrearage"), UpstreamMisconfigured, 1),
    (refuses(400, "InvalidParameter", "bad"), InvalidParameter, 1),
    (refuses(400, "DataInspectionFailed"), ContentRefused, 1),
    (answers(200, {"output": {"code": "InvalidURL", "message": ""}}), SourceUnreachable, 1),
]


@pytest.mark.parametrize(("step", "kind", "submits"), NO_FALL_THROUGH)
async def test_nothing_else_moves_to_the_next_model(step: Step, kind: type[ImgapiError], submits: int) -> None:
    """Any failure but a retired model ends the edit: no second model is paid for the same request."""
    house = House()
    house.upstream.scripts["wanx2.1-imageedit"] = [step]
    await house.fail(kind)
    assert house.upstream.models == ["wanx2.1-imageedit"] * submits


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InternalError.Algo", EditFailed),
        ("InternalError.Timeout", EditFailed),
        ("InvalidPerson", PictureUnsuitable),
        ("InvalidParameter.FileDownload", SourceUnreachable),
        ("DataInspectionFailed", ContentRefused),
        ("ModelNotFound", UpstreamMisconfigured),
        ("BrandNewCode", EditFailed),
    ],
)
async def test_a_failed_task_is_told_by_its_code(code: str, kind: type[ImgapiError]) -> None:
    """A task that ends FAILED is the caller's, the operator's or the upstream's fault as its code says, and final."""
    house = House()
    house.upstream.output = {"task_status": "FAILED", "code": code, "message": "https://x.test/?Signature=s failed"}
    error = await house.fail(kind)
    assert error.upstream_task_id == "up-1"
    assert "://" not in error.sentence
    assert len(house.upstream.submits) == 1


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ({"task_status": "CANCELED"}, EditFailed),
        ({"task_status": "FAILED"}, EditFailed),
        ({"results": []}, EditFailed),
        ({"results": [{"url": ""}]}, EditFailed),
        ({"results": None, "image_url": 7}, EditFailed),
        ({"task_status": "FAILED", "results": [{"url": URL}]}, EditFailed),
        ({"results": [{"code": "DataInspectionFailed"}, {"code": "DataInspectionFailed"}]}, ContentRefused),
    ],
)
async def test_an_end_without_a_picture_is_no_success(output: dict[str, Any], kind: type[ImgapiError]) -> None:
    """A task that ended otherwise, or without one usable link, is never answered as done."""
    house = House()
    house.upstream.output = {"task_status": "SUCCEEDED"} | output
    await house.fail(kind)
    assert len(house.upstream.submits) == 1


@pytest.mark.parametrize("tells_id", [True, False])
async def test_a_task_the_upstream_forgot_is_lost(tells_id: bool) -> None:  # noqa: FBT001 - a pytest parameter
    """UNKNOWN after the grace is a lost task, which is not submitted again."""
    house = House()
    house.upstream.run_seconds = 30.0
    house.upstream.output = {"task_status": "UNKNOWN"} | ({} if tells_id else {"task_id": None})
    await house.fail(TaskLost)
    assert len(house.upstream.submits) == 1


async def test_a_partial_failure_keeps_the_successes() -> None:
    """Of four pictures three arrive, and the metrics tell of the fourth."""
    house = House()
    failed = {"code": "InternalError.Timeout", "message": "An internal timeout error has occured"}
    links = [{"url": f"https://results.test/{number}.png"} for number in range(3)]
    house.upstream.output = {"results": [links[0], failed, *links[1:]], "code": "InternalError.Timeout"}
    reply = await house.run("change_bg", ChangeBgRequest(base_image_url=URL, ref_image_url=URL, n=4))
    assert [link.url for link in reply.results] == [link["url"] for link in links]
    assert reply.task_metrics == TaskMetrics(TOTAL=4, SUCCEEDED=3, FAILED=1)


async def test_a_synchronous_model_answers_at_once() -> None:
    """The pictures of a synchronous model are answered without any polling."""
    house = House()
    for model in ("wanx2.1-imageedit", "wan2.7-image"):
        house.upstream.scripts[model] = [GONE]
    choices = [{"finish_reason": "stop", "message": {"role": "assistant", "content": [{"image": URL}]}}]
    house.upstream.scripts["qwen-image-2.0"] = [answers(200, {"output": {"choices": choices}})]
    reply = await house.run()
    assert [link.url for link in reply.results] == [URL]
    assert reply.engine == "dashscope:qwen-image-2.0"
    assert reply.upstream_task_id is None
    assert TIME.fullmatch(reply.end_time)
    assert not house.upstream.simulator.queries


async def test_at_the_deadline_a_running_task_is_left_alone() -> None:
    """A task that runs too long is told as still running, with its upstream id, and not canceled."""
    house = House(pending_seconds=10.0, deadline_seconds=30.0)
    house.upstream.run_seconds = 1000.0
    error = await house.fail(StillRunning)
    assert error.upstream_task_id == "up-1"
    assert error.billed == "unknown"
    assert not house.upstream.cancels
    assert 30.0 <= house.clock.monotonic() < 32.0


async def test_at_the_deadline_a_pending_task_is_canceled() -> None:
    """A task that never began is canceled once, so that nothing is paid for it."""
    house = House(pending_seconds=30.0)
    house.upstream.pending_seconds = 1000.0
    error = await house.fail(EditFailed)
    assert "canceled" in error.message
    assert error.billed is False
    assert error.upstream_task_id == "up-1"
    assert house.upstream.cancels == ["/api/v1/tasks/up-1/cancel"]


async def test_a_place_is_free_again_after_the_deadline() -> None:
    """Tasks that are given up don't block the model's places."""
    house = House(deadline_seconds=30.0)
    house.upstream.run_seconds = 1000.0
    outcomes = await house.clock.run(
        asyncio.gather(*(house.hold("fix", FIX) for _ in range(4)), return_exceptions=True)
    )
    assert all(isinstance(outcome, StillRunning) for outcome in outcomes)
    house.upstream.run_seconds = 9.0
    await house.run()


async def test_too_many_tasks_are_refused_at_once() -> None:
    """Beyond the most tasks under way the next is refused with nothing started, and accepted when one has ended."""
    house = House(max_tasks=2)
    tasks = [asyncio.create_task(house.hold("fix", FIX)) for _ in range(2)]
    await house.clock.advance(1.0)
    with pytest.raises(Overloaded) as caught:
        await house.hold("fix", FIX)
    assert "nothing was started" in caught.value.message
    assert len(house.upstream.submits) == 2
    await house.clock.run(asyncio.gather(*tasks))
    await house.run()


async def test_a_models_limits_are_kept() -> None:
    """Never more tasks of a model run than it allows, nor more submits a second; the others wait."""
    house = House()
    instants: list[float] = []
    house.upstream.before_submit = lambda: instants.append(house.clock.monotonic())
    outcomes = await house.clock.run(asyncio.gather(*(house.hold("fix", FIX) for _ in range(7))))
    assert all(isinstance(outcome, PicturesReply) for outcome in outcomes)
    assert _most_at_once([(task.begins, task.ends) for task in house.upstream.simulator.tasks.values()]) == 2
    assert all(later - earlier >= 0.499 for earlier, later in pairwise(instants))


def _most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    return max(sum(1 for begin, end in spans if begin <= instant < end) for instant, _ in spans)


async def test_an_unusable_input_costs_nothing() -> None:
    """A picture that can't be prepared ends the edit before any submit, and names its field."""
    house = House()
    house.preparer.error = InvalidParameter("is too wide", field="base_image_url")
    error = await house.fail(InvalidParameter)
    assert error.sentence == "base_image_url: is too wide"
    assert not house.upstream.submits
    assert not house.log.named("submit intended")


async def test_what_an_engine_tells_reaches_the_caller() -> None:
    """Warnings of preparation and engine are told once; ignored parameters only where the request has them."""
    house = House()
    house.preparer.warnings = ("low_confidence",)
    house.upstream.headers = {
        "X-Imgapi-Engine": "local-preview",
        "X-Imgapi-Warnings": "low_confidence, touches_border",
        "X-Imgapi-Ignored": "prompt, ref_prompt",
    }
    reply = await house.run()
    assert (reply.engine, reply.warnings, reply.ignored) == (
        "local-preview",
        ["low_confidence", "touches_border"],
        ["prompt"],
    )


async def test_the_model_itself_tells_nothing_of_the_kind() -> None:
    """Without such headers the reply has neither field."""
    reply = await House().run()
    assert reply.warnings is None
    assert reply.ignored is None


async def test_the_local_edit_runs_here() -> None:
    """Removing a background never asks the upstream."""
    house = House()
    reply = await house.run("remove_bg", RemoveBgRequest(image_url=URL))
    assert reply.engine == "local-preview"
    assert house.log.named("edit succeeded")[0]["task_id"] == reply.task_id
    assert not house.upstream.submits


async def test_run_times_are_learned_by_kind() -> None:
    """What an edit's task took is remembered for the next of its kind."""
    house = House()
    await house.run()
    await house.run()
    learned = [list(times.seen) for times in house.runner.life.catalogue.forecast.kinds.values() if times.seen]
    assert learned == [[pytest.approx(9.0, abs=0.01)] * 2]


async def test_a_stop_tells_held_callers_their_tasks() -> None:
    """At a stop every held caller is told at once where its task will be, and that it goes on."""
    house = House()
    tasks = [asyncio.create_task(house.hold("fix", FIX)) for _ in range(4)]
    await house.clock.advance(2.0)
    assert len(house.upstream.submits) == 2
    await house.stop()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        assert isinstance(outcome, StillRunning)
        assert f"/tasks/{outcome.task_id}" in outcome.message
    assert sorted(str(outcome.upstream_task_id) for outcome in outcomes if isinstance(outcome, ImgapiError)) == [
        "None",
        "None",
        "up-1",
        "up-2",
    ]


async def test_nothing_is_submitted_after_a_stop() -> None:
    """Once a stop was asked for, no waiting edit takes a freed place, and no new edit begins."""
    house = House()
    tasks = [asyncio.create_task(house.hold("fix", FIX)) for _ in range(6)]
    await house.clock.advance(2.0)
    await house.stop()
    with pytest.raises(Overloaded):
        await house.hold("fix", FIX)
    await asyncio.gather(*tasks, return_exceptions=True)
    await house.clock.advance(100.0)
    assert len(house.upstream.submits) == 2


async def test_the_next_process_goes_on_where_the_last_one_stopped() -> None:
    """What waited is submitted once, what ran is followed, and every task ends well after the restart."""
    house = House()
    task_ids = [await house.accept() for _ in range(6)]
    await house.clock.advance(2.0)
    await house.stop()
    await house.die()
    await house.clock.advance(5.0)
    following = House(house, owner="second")
    await following.open()
    ends = [await following.end(task_id) for task_id in task_ids]
    assert [end["status"] for end in ends] == ["succeeded"] * 6
    assert len(house.upstream.submits) == 6


async def test_a_submit_cut_off_by_a_crash_is_of_unknown_fate() -> None:
    """A process that dies while a submit is out leaves it open whether it was received; it is not repeated."""
    house = House()
    never = asyncio.Event()

    async def hang(_request: httpx.Request) -> httpx.Response:
        await never.wait()
        raise AssertionError

    house.upstream.scripts["wanx2.1-imageedit"] = [hang]
    task_id = await house.accept()
    await house.clock.advance(2.0)
    await house.die()
    following = House(house, owner="second")
    await following.open()
    end = await following.end(task_id)
    assert (end["status"], end["code"], end["billed"]) == ("failed", "task_lost", "unknown")
    assert len(house.upstream.submits) == 1


async def test_throttled_submits_keep_to_the_models_pace() -> None:
    """A submit that is sent again waits for its turn among the others of its model, and slows them."""
    house = House()
    throttled = refuses(429, "Throttling.RateQuota", "Requests rate limit exceeded")
    times: list[float] = []
    house.upstream.before_submit = lambda: times.append(house.clock.monotonic())

    async def accept(_request: httpx.Request) -> httpx.Response:
        return house.upstream.accept()

    house.upstream.scripts["wanx2.1-imageedit"] = [throttled, throttled, accept]
    await house.clock.run(asyncio.gather(*(house.hold("fix", FIX) for _ in range(2))))
    assert len(times) == 4
    assert min(after - before for before, after in pairwise(times)) >= 0.5


async def test_a_stop_lets_a_submit_be_recorded() -> None:
    """A submit that is out when a stop is asked for is waited for, so that its task is not lost."""
    house = House()

    async def accept(_request: httpx.Request) -> httpx.Response:
        await house.clock.sleep(5.0)
        return house.upstream.accept()

    house.upstream.scripts["wanx2.1-imageedit"] = [accept]
    task_id = await house.accept()
    await house.clock.advance(2.0)
    await house.clock.run(house.runner.close(20.0))
    assert (await house.record(task_id)).upstream_task_id == "up-1"


async def test_a_hundred_hang_ups_leave_nothing_behind() -> None:
    """Callers who hang up leave no life, no place and no watch behind when their tasks have ended."""
    house = House()
    callers = [asyncio.create_task(house.hold("fix", FIX)) for _ in range(100)]
    await house.clock.advance(1.0)
    for caller in callers:
        caller.cancel()
    await house.clock.advance(3600.0)
    assert len(house.upstream.submits) == 100
    assert not house.engine.running
    assert not house.runner.life.poller._watches
    assert not house.runner.changes._watches
    assert len(house.log.named("edit succeeded")) == 100
