"""Scripted faults, one by one, and the record they leave."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from emulator.rig import BACKGROUND_PATH, EDIT_PATH, Rig, background, edit, settle
from emulator.sockets import serving_emulator
from imgapi.emulator.faults import ConnectionCut, FaultScript, Rule

SUBMIT = {"call": "submit"}
POLL = {"call": "poll"}


def script(rig: Rig, match: dict[str, Any], do: dict[str, Any], **rest: Any) -> None:
    """Script one rule."""
    rig.emulator.faults.script({"match": match, "do": do, **rest})


def created(rig: Rig) -> int:
    """Count the tasks that were accepted."""
    return rig.emulator.ledger.tasks_created


@pytest.mark.parametrize(
    ("do", "status", "code"),
    [
        ({"status": 429}, 429, "Throttling.RateQuota"),
        ({"status": 500}, 500, "InternalError"),
        ({"status": 503}, 503, "ModelUnavailable"),
        ({"status": 400, "code": "Arrearage", "message": "Pay."}, 400, "Arrearage"),
        ({"code": "DataInspectionFailed"}, 400, "DataInspectionFailed"),
        ({"retired": True}, 403, "Endpoint.AccessDenied"),
    ],
)
async def test_refused_submit_creates_nothing(rig: Rig, do: dict[str, Any], status: int, code: str) -> None:
    """A scripted refusal answers its status and code, strikes once, and accepts nothing."""
    script(rig, SUBMIT, do)
    first = await rig.submit(EDIT_PATH, edit())
    second = await rig.submit(EDIT_PATH, edit())
    assert (first.status_code, first.json()["code"], second.status_code) == (status, code, 200)
    assert created(rig) == 1
    assert [record.fault for record in rig.emulator.ledger.of("submit")] == [True, False]


async def test_accept_anyway_creates_the_task_behind_an_error(rig: Rig) -> None:
    """The control that finds double payment: the answer is an error, the task exists."""
    script(rig, SUBMIT, {"status": 502, "html": True, "accept_anyway": True})
    response = await rig.submit(EDIT_PATH, edit())
    assert (response.status_code, response.headers["content-type"]) == (502, "text/html")
    assert "<html>" in response.text
    assert created(rig) == 1


@pytest.mark.parametrize(("where", "tasks"), [("sending", 0), ("before", 0), ("after", 1)])
async def test_cut_connection_in_process(rig: Rig, where: str, tasks: int) -> None:
    """Without a socket a cut is an exception out of the app; only a cut after acceptance leaves a task."""
    script(rig, SUBMIT, {"cut": where})
    with pytest.raises(ConnectionCut):
        await rig.submit(EDIT_PATH, edit())
    await settle()
    assert created(rig) == tasks
    assert rig.emulator.ledger.of("submit")[0].status is None


@pytest.mark.parametrize("do", [{"cut_after_bytes": 10}, {"short_body": True}])
async def test_answer_cut_within_its_body(rig: Rig, do: dict[str, Any]) -> None:
    """An answer can end before the length it announced; the task was accepted."""
    script(rig, SUBMIT, do)
    with pytest.raises(ConnectionCut):
        await rig.submit(EDIT_PATH, edit())
    assert created(rig) == 1


@pytest.mark.parametrize("body", ["null", "[]", "\x00", "7", '{"output": {}}'])
async def test_any_body_can_be_answered(rig: Rig, body: str) -> None:
    """A 200 with a scripted body is sent as it is."""
    script(rig, POLL, {"body": body})
    response = await rig.client.get("/api/v1/tasks/x")
    assert (response.status_code, response.text) == (200, body)


async def test_bad_json_and_headers(rig: Rig) -> None:
    """A 200 of broken JSON, and headers of one's own beside a true answer."""
    script(rig, POLL, {"bad_json": True})
    script(rig, POLL, {"status": 429, "headers": {"Retry-After": "7"}})
    script(rig, POLL, {"headers": {"X-Extra": "yes"}})
    broken, throttled, true = [await rig.client.get("/api/v1/tasks/x") for _ in range(3)]
    assert broken.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        broken.json()
    assert throttled.headers["retry-after"] == "7"
    assert (true.headers["x-extra"], true.json()["output"]["task_status"]) == ("yes", "UNKNOWN")


async def test_delay_is_of_the_injected_clock(rig: Rig) -> None:
    """A delayed answer comes when its time has passed, after the call took effect."""
    script(rig, SUBMIT, {"delay_seconds": 30})
    call = asyncio.create_task(rig.submit(EDIT_PATH, edit()))
    await settle()
    assert (created(rig), call.done()) == (1, False)
    await rig.clock.advance(31)
    assert (await call).status_code == 200


async def test_dripping_answer(rig: Rig) -> None:
    """An answer of so many bytes takes so many pauses."""
    script(rig, POLL, {"body": "0123456789", "drip_seconds": 1})
    call = asyncio.create_task(rig.client.get("/api/v1/tasks/x"))
    await settle()
    for _ in range(9):
        await rig.clock.advance(1)
    assert not call.done()
    await rig.clock.advance(2)
    assert (await call).text == "0123456789"


async def test_fates_of_tasks(rig: Rig) -> None:
    """A submit can be given a task that hangs, fails, or fails in part."""
    script(rig, SUBMIT, {"hold": "PENDING"})
    script(rig, SUBMIT, {"fail": "DataInspectionFailed", "message": "Output data may be inappropriate."})
    stuck = await rig.start(EDIT_PATH, edit())
    failing = await rig.start(EDIT_PATH, edit(n=2))
    await rig.clock.advance(1)
    script(rig, SUBMIT, {"fail_items": [2, 4]})
    script(rig, SUBMIT, {"fail_items": [1]})
    partial = await rig.start(EDIT_PATH, edit(n=4))
    nothing = await rig.start(EDIT_PATH, edit(n=1))
    failed, half, none = [await rig.finish(task) for task in (failing, partial, nothing)]
    assert (await rig.poll(stuck))["output"]["task_status"] == "PENDING"
    assert failed["output"]["code"] == "DataInspectionFailed"
    assert failed["output"]["task_metrics"] == {"TOTAL": 2, "SUCCEEDED": 0, "FAILED": 2}
    assert [set(item) for item in half["output"]["results"]] == [{"url"}, {"code", "message"}] * 2
    assert half["output"]["task_metrics"] == {"TOTAL": 4, "SUCCEEDED": 2, "FAILED": 2}
    assert half["usage"] == {"image_count": 2}
    assert none["output"]["task_status"] == "FAILED"
    assert rig.emulator.ledger.images_billed == 2


@pytest.mark.parametrize("shown", ["UNKNOWN", "SUSPENDED", "RUNNING"])
async def test_status_shown_instead_of_the_true_one(rig: Rig, shown: str) -> None:
    """A poll can be shown any status, as often as scripted; then the truth again."""
    task_id = await rig.start(EDIT_PATH, edit())
    script(rig, {**POLL, "task": task_id}, {"task_status": shown}, times=3)
    seen = [(await rig.poll(task_id))["output"]["task_status"] for _ in range(3)]
    assert seen == [shown] * 3
    assert (await rig.finish(task_id))["output"]["task_status"] == "SUCCEEDED"


async def test_expired_results(rig: Rig) -> None:
    """Links can be born expired, and a single download can be told so."""
    script(rig, SUBMIT, {"expire_result": True})
    dead = (await rig.finish(await rig.start(EDIT_PATH, edit())))["output"]["results"][0]["url"]
    alive = (await rig.finish(await rig.start(EDIT_PATH, edit())))["output"]["results"][0]["url"]
    script(rig, {"call": "result", "model": "wanx2.1-imageedit"}, {"expire_result": True})
    answers = [await rig.client.get(url) for url in (alive, alive, dead)]
    assert [answer.status_code for answer in answers] == [403, 200, 403]
    assert all("Request has expired." in answers[number].text for number in (0, 2))


async def test_match_by_model_and_by_count(rig: Rig) -> None:
    """A rule strikes only the calls it names: this model, its second call."""
    script(rig, {**SUBMIT, "model": "wanx2.1-imageedit", "nth": 2}, {"status": 500})
    answers = [
        await rig.submit(path, body)
        for path, body in (
            (BACKGROUND_PATH, background()),
            (EDIT_PATH, edit()),
            (BACKGROUND_PATH, background()),
            (EDIT_PATH, edit()),
        )
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 500]


def test_chance_comes_from_the_seed() -> None:
    """Random faults strike about as often as asked, and the same seed strikes the same calls."""
    strikes = []
    for _ in range(2):
        faults = FaultScript(seed=5)
        faults.script({"do": {"status": 500}, "times": None, "chance": 0.5})
        poll = Rule.model_validate({"match": POLL, "do": {}}).match.call
        assert poll is not None
        strikes.append([faults.strikes(poll, None, None, sending=False) is not None for _ in range(200)])
    assert strikes[0] == strikes[1]
    assert 70 < sum(strikes[0]) < 130


@pytest.mark.parametrize(
    "rule",
    [
        {"match": POLL, "do": {"hold": "RUNNING"}},
        {"match": SUBMIT, "do": {"task_status": "UNKNOWN"}},
        {"match": {"call": "submit", "model": "x"}, "do": {"cut": "sending"}},
        {"match": SUBMIT, "do": {"explode": True}},
        {"match": SUBMIT, "do": {"status": 99}},
        {"match": SUBMIT, "do": {"headers": {"X": "a\r\nb"}}},
        {"match": {"call": "guess"}, "do": {}},
        {"match": SUBMIT},
    ],
)
def test_rule_without_meaning_is_refused(rule: dict[str, Any]) -> None:
    """A fault that could never strike, or is misspelt, is refused when it is scripted."""
    with pytest.raises(ValueError, match=r"."):
        FaultScript().script(rule)


def test_number_of_rules_is_bounded() -> None:
    """A script that never ends is refused."""
    with pytest.raises(ValueError, match="at most"):
        FaultScript().script(*[{"do": {"status": 500}}] * 1001)


def test_faults_over_a_socket() -> None:
    """Over a socket a cut really ends the connection, a short body is short, and the server goes on."""
    with (
        serving_emulator(enforce_limits=False) as served,
        httpx.Client(base_url=served.address, headers={"Authorization": "Bearer k"}, trust_env=False) as client,
    ):
        mode = {"X-DashScope-Async": "enable"}
        for where, tasks in (("sending", 0), ("before", 0), ("after", 1)):
            served.emulator.faults.script({"match": SUBMIT, "do": {"cut": where}})
            with pytest.raises(httpx.TransportError):
                client.post(EDIT_PATH, json=edit(), headers=mode)
            assert served.emulator.ledger.tasks_created == tasks
        for do in ({"short_body": True}, {"cut_after_bytes": 3}):
            served.emulator.faults.script({"match": POLL, "do": do})
            with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
                client.get("/api/v1/tasks/x")
        served.emulator.faults.script({"match": POLL, "do": {"drip_seconds": 0.002}})
        started = time.monotonic()
        assert client.get("/api/v1/tasks/x").json()["output"]["task_status"] == "UNKNOWN"
        assert time.monotonic() - started > 0.1
