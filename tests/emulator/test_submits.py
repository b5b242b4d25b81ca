"""Submits: the order of checks, the rules of each model, what an accepted one answers."""

from collections.abc import AsyncIterator

import pytest

from emulator.rig import (
    BACKGROUND_PATH,
    CHAT_PATH,
    EDIT_PATH,
    WAN_PATH,
    Rig,
    background,
    chat,
    draw,
    edit,
    to_data_url,
    try_on,
)

PHOTO = "http://pictures.test/photo.jpg"
RGB = "http://pictures.test/rgb.png"


async def test_accepted_submit_answers_pending_with_ids_and_engine(rig: Rig) -> None:
    """An accepted submit answers PENDING, a new task id, a new request id, and says that it is a preview."""
    response = await rig.submit(BACKGROUND_PATH, background())
    body = response.json()
    assert response.status_code == 200
    assert body["output"]["task_status"] == "PENDING"
    assert len(body["output"]["task_id"]) == 36
    assert body["request_id"] != body["output"]["task_id"]
    assert response.headers["X-Imgapi-Engine"] == "local-preview"


async def test_final_slash_is_taken_without_redirect(rig: Rig) -> None:
    """A trailing slash changes nothing on any path."""
    response = await rig.submit(f"{BACKGROUND_PATH}/", background())
    task_id = response.json()["output"]["task_id"]
    look = await rig.client.get(f"/api/v1/tasks/{task_id}/?n=1&model_version=v3")
    listed = await rig.client.get("/api/v1/tasks/")
    assert [response.status_code, look.status_code, listed.status_code] == [200, 200, 200]
    assert look.json()["output"]["task_id"] == task_id
    assert listed.json()["total"] == 1


async def test_checks_come_in_the_documented_order(rig: Rig) -> None:
    """Route, key, mode, JSON, model, retirement and fields are looked at in this order."""
    client, url = rig.client, BACKGROUND_PATH
    no_route = await client.post("/api/v1/services/aigc/nothing/here", content=b"{", headers={"Authorization": ""})
    no_key = await client.post(url, content=b"{", headers={"Authorization": ""})
    no_mode = await client.post(url, content=b"{")
    no_json = await rig.submit(url, b"{")
    no_model = await rig.submit(url, {"input": {}})
    unknown = await rig.submit(url, {"model": "wanx-background-generation-v3"})
    no_input = await rig.submit(url, {"model": "wanx-background-generation-v2"})
    no_fields = await rig.submit(url, {"model": "wanx-background-generation-v2", "input": {}})
    answers = [no_route, no_key, no_mode, no_json, no_model, unknown, no_input, no_fields]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (404, "NotFound"),
        (401, "InvalidApiKey"),
        (403, "AccessDenied"),
        (400, "BadRequest.IllegalInput"),
        (400, "BadRequest.EmptyModel"),
        (400, "InvalidParameter"),
        (400, "BadRequest.EmptyInput"),
        (400, "InvalidParameter"),
    ]
    assert no_mode.json()["message"] == "current user api does not support synchronous calls."
    assert unknown.json()["message"] == "Model not exist."
    assert all(set(answer.json()) == {"code", "message", "request_id"} for answer in answers)


async def test_synchronous_path_refuses_the_asynchronous_header() -> None:
    """The chat path answers 403 to the header that the other paths need."""
    async with Rig() as rig:
        response = await rig.submit(CHAT_PATH, chat("去水印", RGB), headers={"X-DashScope-Async": "enable"})
    assert (response.status_code, response.json()["code"]) == (403, "AccessDenied")
    assert response.json()["message"] == "current user api does not support asynchronous calls."


async def test_keys_can_be_closed() -> None:
    """With a list of keys, any other key is refused, and no key is remembered."""
    async with Rig(api_keys=frozenset({"sk-good"})) as rig:
        bad = await rig.submit(EDIT_PATH, edit())
        good = await rig.submit(EDIT_PATH, edit(), headers={"Authorization": "Bearer sk-good"})
        described = str(rig.emulator.ledger.describe())
    assert (bad.status_code, bad.json()["code"]) == (401, "InvalidApiKey")
    assert good.status_code == 200
    assert "sk-" not in described


async def test_retired_and_misplaced_models() -> None:
    """A retired model answers 403 as documented; a model on another's path is told to check the URL."""
    async with Rig(retired=frozenset({"aitryon"})) as rig:
        retired = await rig.submit(EDIT_PATH, try_on())
        misplaced = await rig.submit(EDIT_PATH, background())
        unknown = await rig.submit(WAN_PATH, chat("去水印", RGB, model="wan9-image"))
    assert (retired.status_code, retired.json()["code"]) == (403, "Endpoint.AccessDenied")
    assert retired.json()["message"] == "Workspace endpoint access denied."
    assert (misplaced.status_code, misplaced.json()["message"]) == (400, "url error, please check url！")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "ModelNotFound")


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (background(base_image_url=None), "InvalidParameter", "missing required parameters"),
        (background(ref_image_url=None), "InvalidParameter", "missing required parameters"),
        (background(n=5), "InvalidParameter", "Range of n should be [1, 4]"),
        (background(n=0), "InvalidParameter", "Range of n should be [1, 4]"),
        (background(n=True), "InvalidParameter", "Range of n should be [1, 4]"),
        (background(n="2"), "InvalidParameter", "Range of n should be [1, 4]"),
        (background(model_version="v4"), "InvalidParameter", "model_version"),
        (background(noise_level=1000), "InvalidParameter", "noise_level"),
        (background(ref_prompt_weight=1.5), "InvalidParameter", "ref_prompt_weight"),
        (background(scene_type="CAR"), "InvalidParameter", "scene_type"),
        (background(base_image_url="ftp://a/b.png"), "InvalidURL", "URL"),
        (background(base_image_url="data:image/png;base64,AAAA"), "InvalidURL", "URL"),
        (background(base_image_url="http://a/\u0000b.png"), "InvalidURL", "URL"),
        (background(base_image_url=["x"]), "InvalidParameter", "wrong format"),
        (background(reference_edge={"foreground_edge": [RGB] * 11}), "InvalidParameter", "10"),
        (
            background(reference_edge={"foreground_edge": [RGB], "foreground_edge_prompt": []}),
            "InvalidParameter",
            "foreground_edge_prompt",
        ),
        (background(reference_edge=7), "InvalidParameter", "body"),
    ],
)
async def test_background_rules(rig: Rig, body: dict[str, object], code: str, words: str) -> None:
    """What the background model refuses at submit, with its code and words."""
    response = await rig.submit(BACKGROUND_PATH, body)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert words in response.json()["message"]
    assert rig.emulator.ledger.tasks_created == 0


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (edit("paint"), "InvalidParameter", "function"),
        (edit(function="expand", prompt=None), "InvalidParameter", "missing required"),
        (edit("expand", top_scale=2.1), "InvalidParameter", "top_scale"),
        (edit("expand", left_scale=0.9), "InvalidParameter", "left_scale"),
        (edit("expand", left_scale=float("1e308")), "InvalidParameter", "left_scale"),
        (edit(upscale_factor=5), "InvalidParameter", "Range of upscale_factor should be [1, 4]"),
        (edit(upscale_factor=1.5), "InvalidParameter", "upscale_factor"),
        (edit(seed=-1), "InvalidParameter", "seed"),
        (edit(watermark="yes"), "InvalidParameter", "watermark"),
        (edit("description_edit", strength=2), "InvalidParameter", "strength"),
        (edit("doodle", is_sketch=1), "InvalidParameter", "is_sketch"),
        (edit("description_edit_with_mask"), "InvalidParameter", "missing required"),
        (edit(base_image_url="http://pictures.test/图.png"), "InvalidURL", "URL"),
    ],
)
async def test_edit_rules(rig: Rig, body: dict[str, object], code: str, words: str) -> None:
    """What the edit model refuses at submit."""
    response = await rig.submit(EDIT_PATH, body)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert words in response.json()["message"]


@pytest.mark.parametrize(
    "function",
    ["stylization_all", "stylization_local", "description_edit", "colorization", "doodle", "control_cartoon_feature"],
)
async def test_edit_functions_without_a_painter_fail_openly(rig: Rig, function: str) -> None:
    """A function the preview can't do is accepted as upstream accepts it, and its task fails saying so."""
    document = await rig.finish(await rig.start(EDIT_PATH, edit(function)))
    assert document["output"]["task_status"] == "FAILED"
    assert document["output"]["code"] == "InternalError.Algo"
    assert function in document["output"]["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (try_on(person_image_url=None), "InvalidParameter"),
        (try_on(top_garment_url=None), "InvalidGarment"),
        (try_on(resolution=512), "InvalidParameter"),
        (try_on(resolution=1024.0), "InvalidParameter"),
        (try_on(restore_face=1), "InvalidParameter"),
        (try_on(person_image_url="data:image/png;base64,AAAA"), "InvalidURL"),
        (try_on("aitryon-refiner", coarse_image_url=PHOTO), "InvalidParameter"),
        (try_on("aitryon-refiner", gender="woman"), "InvalidParameter"),
    ],
)
async def test_try_on_rules(rig: Rig, body: dict[str, object], code: str) -> None:
    """What the try-on models refuse at submit."""
    response = await rig.submit(EDIT_PATH, body)
    assert (response.status_code, response.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (chat("去水印"), "lack of image or text"),
        (chat("", RGB), "lack of image or text"),
        (chat("去水印", RGB, RGB, RGB, RGB), "number of images"),
        (chat("去水印", RGB, n=7), "Range of n should be [1, 6]"),
        (chat("去水印", RGB, size="100*100"), "size"),
        (chat("去水印", RGB, size="2K"), "size"),
        (chat("去水印", RGB, size=5), "size"),
        (chat("去水印", RGB, size="4000*300"), "size"),
        (chat("去水印", RGB, prompt_extend="no"), "prompt_extend"),
        (chat("去水印", RGB, negative_prompt="x" * 501), "negative_prompt"),
        (chat("去水印", RGB, model="wan2.7-image", n=5), "Range of n should be [1, 4]"),
        (chat("去水印", *[RGB] * 10, model="wan2.7-image"), "number of images"),
        (chat("水" * 5001, RGB, model="wan2.7-image"), "5000"),
        ({"model": "qwen-image-2.0", "input": {"messages": []}}, "missing required"),
        ({"model": "qwen-image-2.0", "input": {"messages": [{}, {}]}}, "messages length only support 1"),
        ({"model": "qwen-image-2.0", "input": {"messages": [7]}}, "missing required"),
        ({"model": "qwen-image-2.0", "input": {"messages": [{"role": "user", "content": [7]}]}}, "missing required"),
        ({"model": "qwen-image-2.0", "input": {"messages": [{"role": "user", "content": [{}]}]}}, "lack of image"),
    ],
)
async def test_chat_rules(rig: Rig, body: dict[str, object], words: str) -> None:
    """What the chat-style models refuse."""
    response = await rig.submit(CHAT_PATH, body)
    assert (response.status_code, response.json()["code"]) == (400, "InvalidParameter")
    assert words in response.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"NaN",
        b"\x00\xff\xfe",
        b"[" * 100_000,
        b'{"model":' * 50_000,
        b'{"model": "\\ud800", "input": {}}',
        b'{"model": "wanx2.1-imageedit", "input": []}',
        b'{"model": "wanx2.1-imageedit", "input": {"function": {"a": 1}}}',
        b'{"model": "wanx2.1-imageedit", "input": {"function": "expand", "prompt": "", "base_image_url": "\\ud800"}}',
        b'{"model": "wanx2.1-imageedit", "input": {}, "parameters": 5}',
        b'{"model": ["wanx2.1-imageedit"], "input": {}}',
        b'{"model": "wanx2.1-imageedit", "input": {"n": 1' + b"0" * 5000 + b"}}",
    ],
)
async def test_malformed_bodies_get_the_flat_error(rig: Rig, body: bytes) -> None:
    """No body, however broken, gets anything but the upstream's flat error document with status 400."""
    response = await rig.submit(EDIT_PATH, body)
    assert response.status_code == 400
    assert set(response.json()) == {"code", "message", "request_id"}


async def test_body_beyond_the_bound_is_refused_unread() -> None:
    """A body larger than the bound is refused, announced or not."""
    async with Rig(max_body_bytes=1000) as rig:
        announced = await rig.submit(EDIT_PATH, b" " * 1001)

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b" " * 100

        streamed = await rig.client.post(
            EDIT_PATH,
            content=pieces(),
            headers={"X-DashScope-Async": "enable"},
        )
    for response in (announced, streamed):
        assert (response.status_code, response.json()["code"]) == (400, "BadRequest.TooLarge")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://pictures.test/nowhere.png", "Unable to download"),
        ("http://pictures.test/text.png", "media format"),
        ("oss://dashscope-instant/nothing/a.png", "Failed to find"),
        ("data:image/png;base64,@@@@", "media format"),
    ],
)
async def test_inspection_refuses_what_cannot_be_had(rig: Rig, url: str, words: str) -> None:
    """Pictures are fetched before a task is accepted; what can't be had or read is a 400 of the inspection."""
    headers = {"X-DashScope-OssResourceResolve": "enable"}
    response = await rig.submit(EDIT_PATH, edit(base_image_url=url), headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "InvalidParameter.DataInspection")
    assert words in response.json()["message"]
    assert rig.emulator.ledger.tasks_created == 0
    assert rig.emulator.kept_bytes == 0


async def test_data_url_is_taken_by_the_edit_model(rig: Rig) -> None:
    """The edit model takes a base64 picture in the request."""
    document = await rig.finish(await rig.start(EDIT_PATH, edit(base_image_url=to_data_url(draw()))))
    assert document["output"]["task_status"] == "SUCCEEDED"


async def test_submit_rate_is_bounded_per_model(rig: Rig) -> None:
    """The third submit within a second is a 429; a second later there is room again, and other models have theirs."""
    answers = [await rig.submit(EDIT_PATH, edit()) for _ in range(3)]
    other = await rig.submit(BACKGROUND_PATH, background())
    await rig.clock.advance(1.0)
    later = await rig.submit(EDIT_PATH, edit())
    assert [answer.status_code for answer in [*answers, other, later]] == [200, 200, 429, 200, 200]
    assert answers[2].json()["code"] == "Throttling.RateQuota"


async def test_try_on_throttles_in_its_own_words(rig: Rig) -> None:
    """The try-on models answer `Throttling`."""
    answers = [await rig.submit(EDIT_PATH, try_on()) for _ in range(11)]
    assert (answers[10].status_code, answers[10].json()["code"]) == (429, "Throttling")


async def test_limits_can_be_switched_off() -> None:
    """Without limits any number of submits is taken."""
    async with Rig(enforce_limits=False) as rig:
        answers = [await rig.submit(EDIT_PATH, edit()) for _ in range(10)]
    assert all(answer.status_code == 200 for answer in answers)


async def test_wrong_method_is_flat_json(rig: Rig) -> None:
    """A GET on a submit path is refused in the upstream's shape."""
    response = await rig.client.get(EDIT_PATH)
    assert response.status_code == 405
    assert set(response.json()) == {"code", "message", "request_id"}
