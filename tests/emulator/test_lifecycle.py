"""The life of tasks: statuses, queueing, times, lists, cancelling, the shapes of results."""

import re
from datetime import datetime
from typing import Any

import pytest

from emulator.rig import (
    BACKGROUND_PATH,
    EDIT_PATH,
    START,
    Rig,
    background,
    draw,
    edit,
    try_on,
)
from imgapi.emulator.app import Pace, Progress

RGB = "http://pictures.test/rgb.png"
PHOTO = "http://pictures.test/photo.jpg"
IN_SECONDS = Pace(Progress.SECONDS, spread=0.0)


def status(document: dict[str, Any]) -> str:
    """Return the status a query showed."""
    return str(document["output"]["task_status"])


async def test_background_task_answers_like_the_documentation(rig: Rig) -> None:
    """A background task of two pictures has results, metrics, usage and times in UTC+8 with milliseconds."""
    document = await rig.finish(await rig.start(BACKGROUND_PATH, background(n=2)))
    output = document["output"]
    assert status(document) == "SUCCEEDED"
    assert document["usage"] == {"image_count": 2}
    assert output["task_metrics"] == {"TOTAL": 2, "SUCCEEDED": 2, "FAILED": 0}
    assert [set(item) for item in output["results"]] == [{"url"}, {"url"}]
    assert "_v3_" in output["results"][0]["url"]
    for name in ("submit_time", "scheduled_time", "end_time"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", output[name])
    assert output["submit_time"] == "2026-05-04 10:00:30.123"
    assert rig.emulator.ledger.images_billed == 2
    picture = await rig.open_result(output["results"][1]["url"])
    assert picture.size == (640, 560)


async def test_what_a_painter_tells_is_in_headers_of_an_ended_task(rig: Rig) -> None:
    """The body stays the upstream's; warnings and parameters without effect are told beside it, once it has ended."""
    submitted = await rig.submit(EDIT_PATH, edit())
    task_id = str(submitted.json()["output"]["task_id"])
    document = await rig.finish(task_id)
    answer = await rig.client.get(f"/api/v1/tasks/{task_id}")
    assert answer.headers["X-Imgapi-Warnings"] == "drawn_simply"
    assert answer.headers["X-Imgapi-Ignored"] == "prompt"
    assert not {"warnings", "ignored"} & set(document["output"])
    assert "X-Imgapi-Warnings" not in submitted.headers


async def test_try_on_answers_a_jpeg_link_without_metrics(rig: Rig) -> None:
    """A try-on has `image_url`, an http link to a JPEG, and neither results nor metrics."""
    document = await rig.finish(await rig.start(EDIT_PATH, try_on()))
    output = document["output"]
    assert "results" not in output
    assert "task_metrics" not in output
    assert output["image_url"].startswith("http://")
    assert "_tryon.jpg?" in output["image_url"]
    assert (await rig.open_result(output["image_url"])).format == "JPEG"


async def test_expand_and_super_resolution_have_their_sizes(rig: Rig) -> None:
    """Scales add their share of the original side; the factor multiplies both sides."""
    wide = await rig.finish(await rig.start(EDIT_PATH, edit("expand", left_scale=1.5, top_scale=1.25)))
    large = await rig.finish(await rig.start(EDIT_PATH, edit(upscale_factor=2)))
    assert (await rig.open_result(wide["output"]["results"][0]["url"])).size == (960, 700)
    assert (await rig.open_result(large["output"]["results"][0]["url"])).size == (1280, 1120)


async def test_looks_move_a_task(rig: Rig) -> None:
    """With looks, a task is PENDING and RUNNING for as many looks as configured, and the next one sees its end."""
    rig.emulator.pace = Pace(Progress.LOOKS, pending_looks=2, looks=3)
    task_id = await rig.start(EDIT_PATH, edit())
    seen = [status(await rig.poll(task_id)) for _ in range(6)]
    assert seen == ["PENDING", "PENDING", "RUNNING", "RUNNING", "RUNNING", "SUCCEEDED"]


async def test_try_on_shows_its_side_stages(rig: Rig) -> None:
    """A try-on is first PRE-PROCESSING and last POST-PROCESSING."""
    rig.emulator.pace = Pace(Progress.LOOKS, looks=3)
    task_id = await rig.start(EDIT_PATH, try_on())
    seen = [status(await rig.poll(task_id)) for _ in range(4)]
    assert seen == ["PRE-PROCESSING", "RUNNING", "POST-PROCESSING", "SUCCEEDED"]


async def test_seconds_move_a_task(rig: Rig) -> None:
    """With seconds, a task takes the usual run time of its model, by the injected clock."""
    rig.emulator.pace = IN_SECONDS
    task_id = await rig.start(EDIT_PATH, try_on())
    seen = [status(await rig.poll(task_id))]
    for seconds in (1.0, 7.0, 7.8, 1.0):
        await rig.clock.advance(seconds)
        seen.append(status(await rig.poll(task_id)))
    assert seen == ["PENDING", "PRE-PROCESSING", "RUNNING", "POST-PROCESSING", "SUCCEEDED"]
    output = (await rig.poll(task_id))["output"]
    begun, ended = (datetime.fromisoformat(output[name]) for name in ("scheduled_time", "end_time"))
    assert (ended - begun).total_seconds() == pytest.approx(16.25, abs=0.01)


async def test_spread_is_drawn_from_the_seed() -> None:
    """The same seed gives the same run times; factor and spread shape them."""
    seconds: list[list[float]] = []
    for _ in range(2):
        async with Rig(pace=Pace(Progress.SECONDS, factor=0.5, spread=0.2), seed=7, enforce_limits=False) as rig:
            for _ in range(3):
                await rig.start(EDIT_PATH, edit())
            await rig.clock.advance(60)
            rows = (await rig.client.get("/api/v1/tasks")).json()["data"]
            seconds.append([row["end_time"] - row["start_time"] for row in rows])
    assert seconds[0] == seconds[1]
    assert len(set(seconds[0])) == 3
    assert all(8920 * 0.5 * 0.8 - 1 <= value <= 8920 * 0.5 * 1.2 + 1 for value in seconds[0])


async def test_tasks_queue_in_pending_under_the_running_bound(rig: Rig) -> None:
    """One background task runs at a time; the next is PENDING until the first has ended."""
    rig.emulator.pace = IN_SECONDS
    first = await rig.start(BACKGROUND_PATH, background())
    second = await rig.start(BACKGROUND_PATH, background())
    await rig.clock.advance(5)
    assert [status(await rig.poll(task)) for task in (first, second)] == ["RUNNING", "PENDING"]
    await rig.clock.advance(8)
    assert [status(await rig.poll(task)) for task in (first, second)] == ["SUCCEEDED", "RUNNING"]
    await rig.clock.advance(13)
    assert status(await rig.poll(second)) == "SUCCEEDED"
    assert rig.emulator.ledger.peak_running == {"wanx-background-generation-v2": 1}


async def test_cancel_takes_only_pending_tasks(rig: Rig) -> None:
    """A queued task can be canceled, with any body; one at work, ended or unknown can't."""
    rig.emulator.pace = IN_SECONDS
    running = await rig.start(BACKGROUND_PATH, background())
    queued = await rig.start(BACKGROUND_PATH, background())
    await rig.clock.advance(1)
    done = await rig.client.post(f"/api/v1/tasks/{queued}/cancel/", json={"model": "", "parameters": {}, "input": ""})
    assert (done.status_code, set(done.json())) == (200, {"request_id"})
    document = await rig.poll(queued)
    assert status(document) == "CANCELED"
    assert {"submit_time", "end_time"} <= set(document["output"])
    for task_id in (running, queued, "not-there"):
        refused = await rig.client.post(f"/api/v1/tasks/{task_id}/cancel")
        assert (refused.status_code, refused.json()["code"]) == (400, "UnsupportedOperation")


async def test_cancel_right_after_submit_frees_the_place(rig: Rig) -> None:
    """A task canceled before it was scheduled leaves its place to the next."""
    rig.emulator.pace = IN_SECONDS
    first = await rig.start(BACKGROUND_PATH, background())
    second = await rig.start(BACKGROUND_PATH, background())
    assert (await rig.client.post(f"/api/v1/tasks/{first}/cancel")).status_code == 200
    await rig.clock.advance(1)
    assert status(await rig.poll(second)) == "RUNNING"


async def test_unknown_task_is_unknown_with_200(rig: Rig) -> None:
    """An id that never was is UNKNOWN, not an error."""
    document = await rig.poll("not-there")
    assert document["output"] == {"task_id": "not-there", "task_status": "UNKNOWN"}


async def test_task_is_forgotten_after_its_lifetime() -> None:
    """After its lifetime a task is UNKNOWN, gone from the list, and its links are dead."""
    async with Rig(lifetime_seconds=100) as rig:
        task_id = await rig.start(EDIT_PATH, edit())
        url = (await rig.finish(task_id))["output"]["results"][0]["url"]
        await rig.clock.advance(102)
        assert status(await rig.poll(task_id)) == "UNKNOWN"
        assert (await rig.client.get("/api/v1/tasks")).json()["total"] == 0
        expired = await rig.client.get(url)
    assert expired.status_code == 403
    assert "Request has expired." in expired.text


async def test_task_beyond_the_internal_timeout_fails(rig: Rig) -> None:
    """A task that hangs ends after three hours with the documented code."""
    rig.emulator.faults.script({"match": {"call": "submit"}, "do": {"hold": "RUNNING"}})
    task_id = await rig.start(EDIT_PATH, edit())
    assert status(await rig.poll(task_id)) == "RUNNING"
    await rig.clock.advance(10_801)
    document = await rig.poll(task_id)
    assert (status(document), document["output"]["code"]) == ("FAILED", "InternalError.Timeout")


async def test_query_rate_is_bounded(rig: Rig) -> None:
    """The 21st query within a second is a 429, and a second later there is room again."""
    answers = [await rig.client.get("/api/v1/tasks/x") for _ in range(21)]
    await rig.clock.advance(1)
    later = await rig.client.get("/api/v1/tasks/x")
    assert [answer.status_code for answer in answers] == [200] * 20 + [429]
    assert answers[-1].json()["code"] == "Throttling.RateQuota"
    assert later.status_code == 200


async def test_list_pages_filters_and_speaks_in_milliseconds() -> None:
    """The list is newest first, paged, filtered by model and status, flat, with times in epoch milliseconds."""
    async with Rig(enforce_limits=False) as rig:
        for _ in range(3):
            await rig.finish(await rig.start(EDIT_PATH, edit()))
        await rig.finish(await rig.start(BACKGROUND_PATH, background()))
        first = (await rig.client.get("/api/v1/tasks", params={"page_size": 3})).json()
        second = (await rig.client.get("/api/v1/tasks", params={"page_size": 3, "page_no": 2})).json()
        edits = (await rig.client.get("/api/v1/tasks", params={"model_name": "wanx2.1-imageedit"})).json()
        failed = (await rig.client.get("/api/v1/tasks", params={"status": "FAILED"})).json()
    assert {name: first[name] for name in ("total", "total_page", "page_no", "page_size")} == {
        "total": 4,
        "total_page": 2,
        "page_no": 1,
        "page_size": 3,
    }
    assert (len(first["data"]), len(second["data"]), edits["total"], failed["total"]) == (3, 1, 3, 0)
    row = first["data"][0]
    assert row["model_name"] == "wanx-background-generation-v2"
    assert row["gmt_create"] >= int(START * 1000)
    assert row["end_time"] >= row["start_time"] >= row["gmt_create"]
    assert row["user_api_unique_key"].endswith("background-generation:generation:wanx-background-generation-v2")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"start_time": "20260504100000"}, 1),
        ({"start_time": "20260504100030", "end_time": "20260504100030"}, 1),
        ({"end_time": "20260504100029"}, 0),
        ({"end_time": "20260504100030"}, 1),
        ({"start_time": "20260101000000", "end_time": "20260101235959"}, 0),
    ],
)
async def test_list_reads_its_stretch_in_utc8(rig: Rig, query: dict[str, str], expected: int) -> None:
    """A stretch is read in UTC+8 to the whole second; with one end missing it is a day long."""
    await rig.finish(await rig.start(EDIT_PATH, edit()))
    assert (await rig.client.get("/api/v1/tasks", params=query)).json()["total"] == expected


@pytest.mark.parametrize(
    "query",
    [
        {"page_size": "101"},
        {"page_size": "0"},
        {"page_no": "x"},
        {"page_no": "9" * 30},
        {"start_time": "yesterday"},
        {"start_time": "20260101000000", "end_time": "20260103000000"},
        {"start_time": "20260102000000", "end_time": "20260101000000"},
        {"start_time": "00000000000000"},
    ],
)
async def test_list_refuses_bad_queries(rig: Rig, query: dict[str, str]) -> None:
    """Pages and times out of range are 400s."""
    response = await rig.client.get("/api/v1/tasks", params=query)
    assert (response.status_code, response.json()["code"]) == (400, "InvalidParameter")


@pytest.mark.parametrize(
    ("path", "body", "code", "words"),
    [
        (BACKGROUND_PATH, background(base_image_url=RGB), "BadRequest.UnsupportedFileFormat", "but is RGB"),
        (
            BACKGROUND_PATH,
            background(base_image_url="http://pictures.test/palette.png"),
            "BadRequest.UnsupportedFileFormat",
            "but is P,",
        ),
        (EDIT_PATH, edit(base_image_url="http://pictures.test/small.png"), "InvalidParameter", "300 and 200"),
        (EDIT_PATH, try_on(top_garment_url="http://pictures.test/tiny.png"), "InvalidInputLength", "150"),
        (EDIT_PATH, edit(prompt="refuse"), "InvalidPerson", "human body"),
    ],
)
async def test_failures_within_the_task(rig: Rig, path: str, body: dict[str, object], code: str, words: str) -> None:
    """What the model finds wrong is a FAILED task in a 200, not a refused submit, and is not billed."""
    rig.web.pictures["http://pictures.test/tiny.png"] = draw(100, 100)
    document = await rig.finish(await rig.start(path, body))
    assert (status(document), document["output"]["code"]) == ("FAILED", code)
    assert words in document["output"]["message"]
    assert rig.emulator.ledger.images_billed == 0
    if path == BACKGROUND_PATH:
        assert document["usage"] == {"image_count": 0}
        assert document["output"]["task_metrics"] == {"TOTAL": 1, "SUCCEEDED": 0, "FAILED": 1}


async def test_download_failures_within_the_task() -> None:
    """Without inspection, what can't be downloaded fails the task, in the words of its model."""
    async with Rig(inspect_inputs=False, enforce_limits=False) as rig:
        nowhere = "http://pictures.test/nowhere.png"
        codes = [
            (await rig.finish(await rig.start(path, body)))["output"]["code"]
            for path, body in (
                (BACKGROUND_PATH, background(base_image_url=nowhere)),
                (BACKGROUND_PATH, background(ref_image_url=nowhere)),
                (EDIT_PATH, edit(base_image_url=nowhere)),
                (EDIT_PATH, try_on(person_image_url=nowhere)),
            )
        ]
    assert codes == [
        "InvalidParameter.FileDownload",
        "BadRequest.InputDownloadFailed",
        "InvalidParameter.FileDownload",
        "InvalidURL",
    ]


async def test_submit_that_comes_to_nothing_keeps_no_pictures() -> None:
    """A submit refused after its pictures were fetched leaves none of them behind."""
    async with Rig(max_tasks=1, enforce_limits=False) as rig:
        rig.emulator.faults.script({"match": {"call": "submit"}, "do": {"hold": "PENDING"}})
        await rig.start(EDIT_PATH, edit())
        kept = rig.emulator.kept_bytes
        refused = await rig.submit(EDIT_PATH, try_on())
        half = await rig.submit(EDIT_PATH, try_on(top_garment_url="http://pictures.test/nowhere.png"))
        assert (refused.status_code, half.status_code) == (429, 400)
        assert rig.emulator.kept_bytes == kept > 0


async def test_nothing_is_left_when_the_emulator_ends() -> None:
    """Leaving the emulator stops its tasks and removes its pictures."""
    async with Rig(pace=IN_SECONDS) as rig:
        await rig.start(EDIT_PATH, edit())
        assert rig.emulator.kept_bytes > 0
    assert rig.emulator.kept_bytes == 0
