"""The playground where things go otherwise: keys, lines that are cut, services that are full, far or gone."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.keys import Keys
from starlette.types import Receive, Scope, Send

from conftest import Service, run_service
from imgapi.api.keys import new_key
from playground import Playground, playing, write_astronaut
from servers import free_socket, serving

MODEL = "wanx2.1-imageedit"
KEY, DIGEST = new_key()
OFFLINE = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
HOP_HEADERS = {b"transfer-encoding", b"connection", b"content-length", b"content-encoding"}


class Line:
    """A proxy before the service, at another address, which cuts lines or hides what the service can do.

    Args:
        target: The service's address.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.cuts_left = 0
        self.hides_files = False
        self.seen: list[tuple[str, dict[bytes, bytes], bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.seen.append((scope["path"], dict(scope["headers"]), body))
        headers = [(name, value) for name, value in scope["headers"] if name not in {b"host", b"accept-encoding"}]
        url = f"{self.target}{scope['path']}?{scope['query_string'].decode()}"
        async with (
            httpx.AsyncClient(trust_env=False, timeout=60) as client,
            client.stream(scope["method"], url, headers=headers, content=body) as answer,
        ):
            kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in HOP_HEADERS]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
            await self._pass_body(scope["path"], answer, send)
        await send({"type": "http.response.body", "body": b""})

    async def _pass_body(self, path: str, answer: httpx.Response, send: Send) -> None:
        if path == "/openapi.json" and self.hides_files:
            document = json.loads(await answer.aread())
            del document["paths"]["/files"]
            await send({"type": "http.response.body", "body": json.dumps(document).encode(), "more_body": True})
            return
        async for chunk in answer.aiter_bytes():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if path.endswith("/events") and self.cuts_left:
                self.cuts_left -= 1
                return

    def asked(self, ending: str) -> list[tuple[dict[bytes, bytes], bytes]]:
        """The headers and bodies of requests to a path."""
        return [(headers, body) for path, headers, body in self.seen if path.endswith(ending)]


@pytest.fixture(scope="module")
def line(service: Service) -> Iterator[tuple[Line, str]]:
    """A proxy before the service, with its address."""
    proxy = Line(service.address)
    with serving(proxy, free_socket()) as address:
        yield proxy, address


@pytest.fixture(scope="module")
def far(line: tuple[Line, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """A browser that reaches the service only through the proxy."""
    with playing(line[1], tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with keys switched on, and one task at a time."""
    folder = tmp_path_factory.mktemp("guarded")
    keys = folder / "keys.toml"
    keys.write_text(f'[[keys]]\nname = "reader"\nhash = "{DIGEST}"\n')
    yield from run_service(folder, api_keys_file=keys, model_limits={MODEL: (2.0, 1)})


@pytest.fixture(scope="module")
def guest(guarded: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """A browser at that service."""
    with playing(guarded.address, tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real photo as a file."""
    return write_astronaut(tmp_path_factory.mktemp("photos"))


def enter_key(page: Playground, key: str) -> None:
    """Type a key into the dialog that asks for one."""
    control = page.find("#key-dialog[open] #key")
    page.until(control.is_displayed)
    control.send_keys(key, Keys.ENTER)


def test_a_cut_line_is_taken_up_again(far: Playground, line: tuple[Line, str], astronaut: Path) -> None:
    """When the events break off, the page says so, and goes on behind the last that it has heard."""
    proxy, _ = line
    far.open("expand")
    far.pick(astronaut, "base_image_url")
    far.run_script(
        "window.said = []; new MutationObserver(() => said.push(document.getElementById('stage').textContent))"
        ".observe(document.getElementById('stage'), { childList: true })"
    )
    proxy.cuts_left = 1
    far.run()
    assert "1024 × 1024 px" in far.result().text
    assert any(text.startswith("The line is cut") for text in far.run_script("return window.said"))
    first, second = (headers for headers, _ in proxy.asked("/events"))
    assert b"last-event-id" not in first
    assert int(second[b"last-event-id"]) >= 1


def test_another_address_is_no_hindrance(far: Playground, line: tuple[Line, str], astronaut: Path) -> None:
    """Results and samples are shown through the address of the page, though the service writes its own."""
    far.open("remove_bg")
    far.find("#sample").click()
    far.run()
    far.result()
    assert far.find(".frame .before").get_attribute("src") == f"{line[1]}/samples/product.jpg"
    assert str(far.find("#result a[download]").get_attribute("href")).startswith(f"{line[1]}/results/")
    assert far.browser.foreign_requests() == []


def test_without_uploads_the_picture_goes_inside(far: Playground, line: tuple[Line, str], astronaut: Path) -> None:
    """Where the document has no `POST /files`, the picture is sent in the request, and the code does the same."""
    proxy, _ = line
    proxy.hides_files = True
    proxy.seen.clear()
    try:
        far.open("fix")
        far.pick(astronaut, "base_image_url")
        far.run()
        far.result()
        assert "base64 < astronaut.jpg" in far.code("curl")
    finally:
        proxy.hides_files = False
    assert proxy.asked("/files") == []
    ((headers, body),) = proxy.asked("/fix")
    assert json.loads(body)["base_image_url"].startswith("data:image/jpeg;base64,")
    assert headers[b"prefer"] == b"respond-async"
    assert len(headers[b"idempotency-key"]) == len("00000000-0000-4000-8000-000000000000")


def test_a_reload_finds_the_task_again(far: Playground, astronaut: Path) -> None:
    """A far that is loaded anew while a task runs goes on watching it, to its result."""
    far.open("expand")
    far.pick(astronaut, "base_image_url")
    far.run()
    far.until(lambda: far.run_script("return sessionStorage.getItem('imgapi.task')"))
    far.driver.refresh()
    assert "1024 × 1024 px" in far.result().text
    assert far.find("#path").text == "POST /expand"
    assert far.run_script("return sessionStorage.getItem('imgapi.task')") is None


def test_a_service_that_is_gone_is_told(far: Playground, astronaut: Path) -> None:
    """When nothing answers, the page says so; what was chosen is still there for another try."""
    far.open("photo_resize")
    far.pick(astronaut, "image")
    far.driver.execute_cdp_cmd("Network.enable", {})
    far.driver.execute_cdp_cmd("Network.emulateNetworkConditions", OFFLINE)
    try:
        far.run()
        assert far.problem().startswith("The service can't be reached")
    finally:
        far.driver.execute_cdp_cmd("Network.emulateNetworkConditions", OFFLINE | {"offline": False})
    far.run()
    assert "512 × 512 px → 512 × 512 px" in far.result().text


def test_a_key_is_asked_for_and_kept_from_the_code(guest: Playground, astronaut: Path) -> None:
    """Where a key is needed it is asked for, a wrong one is told, and the right one is used but shown nowhere."""
    guest.open("fix")
    guest.pick(astronaut, "base_image_url")
    guest.run()
    enter_key(guest, "imgapi_wrong")
    assert guest.until(lambda: guest.find("#key-refusal").text) == "That key is not known here."
    enter_key(guest, KEY)
    assert "1024 × 1024 px" in guest.result().text
    for language, variable in (
        ("curl", "$IMGAPI_KEY"),
        ("Python", "os.environ['IMGAPI_KEY']"),
        ("TypeScript", "process.env.IMGAPI_KEY"),
    ):
        assert variable in guest.code(language)
    assert KEY not in guest.run_script("return document.documentElement.outerHTML")
    assert guest.run_script("return Object.keys(localStorage).length") == 0
    guest.driver.refresh()
    guest.find("#workbench:not([hidden])")
    assert guest.find("#key-button").text == "Change key"
    assert {text.partition("status of ")[2][:3] for text in guest.browser.complaints()} == {"401"}


def test_a_waiting_task_is_canceled(guest: Playground, guarded: Service, astronaut: Path) -> None:
    """A task that waits in line is taken out of it by Cancel, and nothing is made."""
    guest.open("fix")
    if (
        guest.driver.find_elements("css selector", "#key-button:not([hidden])")
        and "Enter" in guest.find("#key-button").text
    ):
        guest.find("#key-button").click()
        enter_key(guest, KEY)
    guest.pick(astronaut, "base_image_url")
    headers = {"Authorization": f"Bearer {KEY}", "Prefer": "respond-async"}
    body = {"base_image_url": f"{guarded.address}/samples/product.jpg"}
    for _ in range(3):
        assert guarded.client.post("/fix", json=body, headers=headers).status_code == 202
    guest.run()
    guest.until(lambda: "place 2" in guest.find("#stage").text or "place 3" in guest.find("#stage").text)
    guest.find("#cancel").click()
    assert guest.problem() == "Canceled. Nothing was made."
    tasks = guarded.client.get("/tasks", headers=headers).json()["tasks"]
    assert tasks[0]["status"] == "canceled"
    assert guest.find("#run").is_enabled()
