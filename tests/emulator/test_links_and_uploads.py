"""Result links, temporary uploads, mounting, bounds, and the control plane."""

from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from emulator.rig import BACKGROUND_PATH, BASE, EDIT_PATH, Rig, background, draw, edit, to_data_url, try_on

RESOLVE = {"X-DashScope-OssResourceResolve": "enable"}
MODEL = "wanx2.1-imageedit"


async def make_result(rig: Rig) -> str:
    """Finish one task and return its link."""
    document = await rig.finish(await rig.start(EDIT_PATH, edit()))
    return str(document["output"]["results"][0]["url"])


async def test_link_is_signed_for_get_alone(rig: Rig) -> None:
    """A link opens by GET without a key; HEAD, POST and any change of it are 403 with the storage's XML."""
    url = await make_result(rig)
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert set(query) == {"Expires", "OSSAccessKeyId", "Signature"}
    bare = httpx.AsyncClient(transport=httpx.ASGITransport(app=rig.emulator.app), base_url=BASE)
    opened = await bare.get(url)
    assert (opened.status_code, opened.headers["content-type"]) == (200, "image/png")
    assert opened.headers["x-content-type-options"] == "nosniff"
    head = await bare.head(url)
    later = await bare.get(url.replace(query["Expires"], str(int(query["Expires"]) + 1)))
    other = await bare.get(url.replace(".png?", "x.png?"))
    unsigned = await bare.get(urlunsplit(parts._replace(query="")))
    assert [answer.status_code for answer in (head, later, other, unsigned)] == [403] * 4
    assert "SignatureDoesNotMatch" in later.text
    assert "<Code>AccessDenied</Code>" in unsigned.text
    assert other.headers["content-type"] == "application/xml"
    await bare.aclose()


async def test_result_can_be_the_next_input(rig: Rig) -> None:
    """The link of one result is taken as the picture of the next task, without a download; a bent one is not."""
    url = await make_result(rig)
    fetched = len(rig.web.fetched)
    again = await rig.finish(await rig.start(EDIT_PATH, edit(base_image_url=url)))
    assert again["output"]["task_status"] == "SUCCEEDED"
    await rig.clock.advance(1)
    bent = await rig.submit(EDIT_PATH, edit(base_image_url=url.replace("Expires=", "Expires=1")))
    assert bent.json()["code"] == "InvalidParameter.DataInspection"
    assert len(rig.web.fetched) == fetched


async def test_links_app_shows_results_only(rig: Rig) -> None:
    """The app for callers opens result links under any prefix, and knows neither API nor control plane."""
    url = await make_result(rig)
    outer = Starlette(routes=[Mount("/emulator", rig.emulator.links_app)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=outer), base_url=BASE) as client:
        opened = await client.get(url.replace(BASE, f"{BASE}/emulator"))
        others = [
            await client.get(f"/emulator{path}", headers={"Authorization": "Bearer k"})
            for path in ("/api/v1/tasks", "/_emulator/ledger", "/uploads", "/")
        ]
    assert opened.status_code == 200
    assert [answer.status_code for answer in others] == [404] * 4


async def test_whole_app_works_under_a_prefix() -> None:
    """Mounted under a prefix, submit, query, upload and results all work."""
    async with Rig(public_url=f"{BASE}/emulator") as rig:
        outer = Starlette(routes=[Mount("/emulator", rig.emulator.app)])
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=outer), base_url=BASE, headers={"Authorization": "Bearer k"}
        ) as client:
            submitted = await client.post(
                f"/emulator{EDIT_PATH}/", json=edit(), headers={"X-DashScope-Async": "enable"}
            )
            task_id = submitted.json()["output"]["task_id"]
            await rig.finish(task_id)
            document = (await client.get(f"/emulator/api/v1/tasks/{task_id}/")).json()
            url = document["output"]["results"][0]["url"]
            assert url.startswith(f"{BASE}/emulator/results/")
            assert (await client.get(url)).status_code == 200
            policy = (
                await client.get("/emulator/api/v1/uploads", params={"action": "getPolicy", "model": MODEL})
            ).json()
            assert policy["data"]["upload_host"] == f"{BASE}/emulator/uploads"
            assert (await client.get("/emulator/")).status_code == 404


async def get_policy(rig: Rig, model: str = MODEL) -> dict[str, Any]:
    """Ask for an upload policy."""
    response = await rig.client.get("/api/v1/uploads", params={"action": "getPolicy", "model": model})
    assert response.status_code == 200, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


async def upload(
    rig: Rig, policy: dict[str, Any], content: bytes, name: str = "a.png", **changes: str
) -> httpx.Response:
    """Send the form of an upload; changes replace its fields."""
    form = {
        "OSSAccessKeyId": policy["oss_access_key_id"],
        "Signature": policy["signature"],
        "policy": policy["policy"],
        "key": f"{policy['upload_dir']}/{name}",
        "x-oss-object-acl": policy["x_oss_object_acl"],
        "x-oss-forbid-overwrite": policy["x_oss_forbid_overwrite"],
        "success_action_status": "200",
        **changes,
    }
    return await rig.client.post(policy["upload_host"], data=form, files={"file": (name, content)})


async def test_uploaded_file_serves_its_model(rig: Rig) -> None:
    """An upload is taken with 200, usable with the resolve header and for its own model only."""
    policy = await get_policy(rig)
    assert policy["expire_in_seconds"] == 300
    assert (await upload(rig, policy, draw(700, 600))).status_code == 200
    url = f"oss://{policy['upload_dir']}/a.png"
    task = await rig.start(EDIT_PATH, edit(base_image_url=url), headers=RESOLVE)
    assert (await rig.finish(task))["output"]["task_status"] == "SUCCEEDED"
    unresolved = await rig.submit(EDIT_PATH, edit(base_image_url=url))
    foreign = await rig.submit(EDIT_PATH, try_on(person_image_url=url), headers=RESOLVE)
    assert (unresolved.status_code, unresolved.json()["code"]) == (400, "invalid_parameter_error")
    assert (foreign.status_code, foreign.json()["code"]) == (400, "InvalidParameter.DataInspection")
    again = await upload(rig, policy, b"other")
    assert again.status_code == 409


async def test_upload_without_status_wish_is_a_204(rig: Rig) -> None:
    """Without `success_action_status` the storage answers 204."""
    assert (await upload(rig, await get_policy(rig), b"x", success_action_status="")).status_code == 204


async def test_upload_form_is_checked(rig: Rig) -> None:
    """A wrong key, signature, place or age of an upload is refused in XML."""
    policy = await get_policy(rig)
    refused = [
        await upload(rig, policy, b"x", OSSAccessKeyId="other"),
        await upload(rig, policy, b"x", Signature="AAAA"),
        await upload(rig, policy, b"x", key="elsewhere/a.png"),
        await upload(rig, policy, b"x", key=f"{policy['upload_dir']}/\x00"),
        await rig.client.post("/uploads", data={"policy": policy["policy"]}),
        await rig.client.post("/uploads", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=b"}),
        await rig.client.post("/uploads", content=b"x"),
    ]
    await rig.clock.advance(301)
    late = await upload(rig, policy, b"x")
    assert [answer.status_code for answer in refused] == [403, 403, 403, 403, 400, 400, 400]
    assert all(answer.headers["content-type"] == "application/xml" for answer in refused)
    assert "Policy expired." in late.text


async def test_upload_expires_and_is_bounded() -> None:
    """An upload lives 48 hours, a file beyond the bound is refused, and so are strange policies."""
    async with Rig(max_upload_bytes=100_000) as rig:
        policy = await get_policy(rig)
        small = draw(512, 512, image_format="JPEG")
        assert len(small) < 100_000
        assert (await upload(rig, policy, small)).status_code == 200
        assert (await upload(rig, policy, b"x" * 100_001, "b.png")).status_code == 400
        assert (await upload(rig, policy, b"x" * 3_000_000, "c.png")).status_code == 400
        await rig.clock.advance(172_801)
        url = f"oss://{policy['upload_dir']}/a.png"
        gone = await rig.submit(EDIT_PATH, edit(base_image_url=url), headers=RESOLVE)
        assert "Failed to find" in gone.json()["message"]
        odd = [
            await rig.client.get("/api/v1/uploads", params={"action": "getPolicy", "model": "unheard-of"}),
            await rig.client.get("/api/v1/uploads", params={"model": MODEL}),
            await rig.client.get(
                "/api/v1/uploads", params={"action": "getPolicy", "model": MODEL}, headers={"Authorization": ""}
            ),
        ]
    assert [answer.status_code for answer in odd] == [400, 400, 401]


async def test_pictures_are_bounded_oldest_results_first() -> None:
    """When room is needed the oldest results go: their links answer 404, newer ones work, tasks are still known."""
    async with Rig(max_total_bytes=2_500_000, enforce_limits=False) as rig:
        rig.web.pictures["http://pictures.test/rgb.png"] = draw(512, 512)
        urls = [await make_result(rig) for _ in range(12)]
        answers = [(await rig.client.get(url)).status_code for url in urls]
        assert rig.emulator.kept_bytes <= 2_500_000
    assert answers[0] == 404
    assert answers[-1] == 200


async def test_tasks_are_bounded() -> None:
    """The oldest ended task is forgotten for a new one; with all under way, a submit is a 429."""
    async with Rig(max_tasks=2, enforce_limits=False) as rig:
        first = await rig.start(EDIT_PATH, edit())
        await rig.finish(first)
        rig.emulator.faults.script({"match": {"call": "submit"}, "do": {"hold": "PENDING"}, "times": None})
        for _ in range(2):
            await rig.start(EDIT_PATH, edit())
        full = await rig.submit(EDIT_PATH, edit())
        assert (await rig.poll(first))["output"]["task_status"] == "UNKNOWN"
    assert full.status_code == 429


async def test_record_of_requests_is_bounded_and_discreet() -> None:
    """Only the last calls are listed, bodies shortened, and no key is among them."""
    async with Rig(max_requests=3, enforce_limits=False) as rig:
        for _ in range(5):
            await rig.submit(EDIT_PATH, edit(base_image_url=to_data_url(draw())))
        listed = (await rig.client.get("/_emulator/requests")).json()["requests"]
        ledger = (await rig.client.get("/_emulator/ledger")).json()
    assert [record["number"] for record in listed] == [3, 4, 5]
    assert all(len(record["body"]) <= 4096 and record["authorized"] for record in listed)
    assert "sk-test" not in str(listed)
    assert ledger["call_counts"] == {"submit": 5}
    assert ledger["tasks_created"] == 5
    assert ledger["accepted"] == {MODEL: 5}
    assert ledger["authorization_seen"] is True


async def test_control_plane_scripts_and_resets(rig: Rig) -> None:
    """Faults are scripted, listed and removed over HTTP; reset forgets everything."""
    control = rig.client
    rules = [{"match": {"call": "submit"}, "do": {"status": 500}, "times": 2}, {"do": {"status": 418}}]
    scripted = await control.post("/_emulator/faults", json=rules)
    assert [rule["seen"] for rule in scripted.json()["faults"]] == [0, 0]
    assert (await rig.submit(EDIT_PATH, edit())).status_code == 500
    assert (await control.get("/_emulator/faults")).json()["faults"][0]["struck"] == 1
    assert (await control.delete("/_emulator/faults")).json() == {"faults": []}
    task_id = await rig.start(EDIT_PATH, edit())
    assert (await control.post("/_emulator/reset")).json() == {"reset": True}
    assert (await rig.poll(task_id))["output"]["task_status"] == "UNKNOWN"
    assert rig.emulator.ledger.tasks_created == 0
    assert rig.emulator.kept_bytes == 0


async def test_control_plane_sets_the_pace(rig: Rig) -> None:
    """Pace and limits can be changed over HTTP, and read back."""
    pace = {"progress": "looks", "looks": 1, "pending_looks": 1}
    answer = await rig.client.post("/_emulator/settings/", json={"pace": pace, "enforce_limits": False})
    assert answer.json()["enforce_limits"] is False
    assert (await rig.client.get("/_emulator/settings")).json()["pace"]["looks"] == 1
    task_id = await rig.start(EDIT_PATH, edit())
    seen = [(await rig.poll(task_id))["output"]["task_status"] for _ in range(3)]
    assert seen == ["PENDING", "RUNNING", "SUCCEEDED"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", b"{"),
        ("faults", b"7"),
        ("faults", b'{"do": {"explode": 1}}'),
        ("faults", b"[7]"),
        ("faults", b"[" * 100_000),
        ("faults", b" " * 1_100_000),
        ("settings", b'{"pace": {"progress": "backwards"}}'),
        ("settings", b'{"speed": 1}'),
        ("settings", b"[]"),
    ],
)
async def test_control_plane_words_its_refusals(rig: Rig, path: str, body: bytes) -> None:
    """A mistake on the control plane is a 400 with a sentence."""
    answer = await rig.client.post(f"/_emulator/{path}", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_control_plane_knows_its_methods(rig: Rig) -> None:
    """A GET on reset changes nothing and says what to use."""
    answer = await rig.client.get("/_emulator/reset")
    assert (answer.status_code, answer.json()["error"]) == (405, "use POST")


async def test_edge_pictures_are_fetched_too(rig: Rig) -> None:
    """Every URL of a submit is inspected, guided edges included."""
    edges = {"foreground_edge": ["http://pictures.test/nowhere.png"], "foreground_edge_prompt": [""]}
    refused = await rig.submit(BACKGROUND_PATH, background(reference_edge=edges))
    assert refused.json()["code"] == "InvalidParameter.DataInspection"
    assert rig.web.fetched[-1].endswith("nowhere.png")
