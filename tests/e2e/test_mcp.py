"""The MCP server as agents run it: a process of its own, and the SDK's own client over stdio and HTTP."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ImageContent, ResourceLink, TextContent
from PIL import Image

from conftest import Service
from imgapi.api.keys import new_key
from pictures import draw_photo, encode

WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.1
MODES = ("legacy", "auto")
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
PING = '{"jsonrpc": "2.0", "id": 1, "method": "ping"}'


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The variables of a person who has set nothing, at home in a folder of the test."""
    ours = ("IMGAPI_", "DASHSCOPE_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    settled = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "TMPDIR": str(home), "IMGAPI_WORKERS": "1"}
    return clean | settled | variables


def links_of(result: CallToolResult) -> list[str]:
    """The links of a result."""
    assert not result.is_error, result.content
    return [block.uri for block in result.content if isinstance(block, ResourceLink)]


def has_small_preview(result: CallToolResult) -> bool:
    """Whether a result shows a picture."""
    return any(isinstance(block, ImageContent) and len(block.data) < 200_000 for block in result.content)


def sentence_of(result: CallToolResult) -> str:
    """The sentence of a refused call."""
    assert result.is_error
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


@pytest.mark.parametrize("mode", MODES)
async def test_agent_edits_a_file_over_stdio(tmp_path: Path, mode: str) -> None:
    """An agent starts the server, sees nine tools, edits a file, is shown it, and leaves: nothing stays behind."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    (work / "photo.png").write_bytes(encode(draw_photo(560, 520), "png"))
    (tmp_path / "secret.png").write_bytes(encode(draw_photo(560, 520), "png"))
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "imgapi", "mcp"], env=environment(home), cwd=work
    )
    seen: list[str] = []

    async def see(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message or "")

    with (tmp_path / "log").open("w+") as log:
        async with Client(stdio_client(parameters, log), mode=mode) as client:
            assert len((await client.list_tools()).tools) == 9
            result = await client.call_tool("remove_bg", {"image_url": "photo.png"}, progress_callback=see)
            (link,) = links_of(result)
            made = Path(url2pathname(link.removeprefix("file://")))
            assert made.is_relative_to(home / "imgapi" / "results")
            with Image.open(made) as picture:
                assert (picture.mode, picture.size) == ("RGBA", (560, 520))
            assert has_small_preview(result)
            assert result.structured_content["pictures"] == [{"file": str(made)}]
            again = await client.call_tool("convert_to_png", {"image": str(made)})
            assert len(links_of(again)) == 1
            refused = await client.call_tool("fix", {"base_image_url": "../secret.png"})
            assert "may not be read" in sentence_of(refused)
        log.seek(0)
        assert log.read() == ""
    assert seen[-1] == "succeeded"
    assert {path.name for path in home.iterdir()} == {"imgapi"}


async def test_agent_uses_a_running_server(service: Service, tmp_path: Path) -> None:
    """With --server the work is done there: files are written here, and the server's own links are given as well."""
    (tmp_path / "photo.png").write_bytes(encode(draw_photo(560, 520), "png"))
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "imgapi", "mcp", "--server", service.address, "--output", "made"],
        env=environment(tmp_path),
        cwd=tmp_path,
    )
    with (tmp_path / "log").open("w+") as log:
        async with Client(stdio_client(parameters, log)) as client:
            result = await client.call_tool("remove_bg", {"image_url": "photo.png"})
            file, link = links_of(result)
            assert file.startswith((tmp_path / "made").as_uri())
            assert link.startswith(f"{service.address}/results/")
            assert result.structured_content["task_id"]


def start(folder: Path, *arguments: str, **variables: str) -> "subprocess.Popen[bytes]":
    """Start the server."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "imgapi", "mcp", *arguments]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command, env=environment(folder, **variables), cwd=folder, stdin=subprocess.PIPE, stderr=log
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_that_nobody_talks_to_can_be_ended(tmp_path: Path, number: signal.Signals) -> None:
    """A server on stdio that waits for its agent ends on a signal, with nothing left behind."""
    home = tmp_path / "home"
    process = start(home)
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not any(home.glob("imgapi-*/tasks.sqlite3")):
            assert time.monotonic() < deadline
            time.sleep(LOOK_SECONDS)
        time.sleep(0.5)
        process.send_signal(number)
        assert process.wait(timeout=20) == (143 if number == signal.SIGTERM else 130)
    finally:
        process.kill()
        process.communicate()
    assert [path.name for path in home.iterdir()] == ["log"]
    assert b"Traceback" not in (home / "log").read_bytes()


class Served:
    """A server on HTTP.

    Args:
        folder: Where its log is.
        variables: Environment variables.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"{self.address}/mcp"
        self.log = folder / "log"
        self.process = start(folder, "--http", "--port", self.address.rpartition(":")[2], **variables)

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                httpx.get(f"{self.address}/nothing", trust_env=False)
            except httpx.TransportError:
                time.sleep(LOOK_SECONDS)
            else:
                return
        pytest.fail(self.log.read_text())

    def stop(self) -> None:
        """End it, and see that it ended well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(timeout=30) == 0
        finally:
            self.process.kill()
            self.process.communicate()


def serving(folder: Path, **variables: str) -> Iterator[Served]:
    """Run a server on HTTP until the generator is closed."""
    served = Served(folder, **variables)
    try:
        served.wait()
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server on this machine that asks for no key."""
    yield from serving(tmp_path_factory.mktemp("open"))


@pytest.mark.parametrize("mode", MODES)
async def test_agent_elsewhere_is_given_links(served: Served, mode: str) -> None:
    """Over HTTP an agent gets links that it can download from the same address, told of progress on the way."""
    seen: list[str] = []

    async def see(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message or "")

    photo = f"{served.address}/samples/product.jpg"
    async with Client(served.url, mode=mode) as client, httpx.AsyncClient(trust_env=False) as http:
        assert len((await client.list_tools()).tools) == 9
        calls: dict[str, dict[str, Any]] = {
            "remove_bg": {"image_url": photo},
            "fix": {"base_image_url": photo, "upscale_factor": 1},
            "photo_resize": {"image": photo, "max_dim": 100},
            "convert_to_png": {"image": photo},
        }
        for name, arguments in calls.items():
            result = await client.call_tool(name, arguments, progress_callback=see)
            (link,) = links_of(result)
            assert link.startswith(f"{served.address}/")
            assert result.structured_content["pictures"][0]["url"] == link
            answer = await http.get(link)
            with Image.open(io.BytesIO(answer.content)) as picture:
                assert picture.size == ((100, 80) if name == "photo_resize" else (800, 640))
            assert has_small_preview(result)
        refused = await client.call_tool("fix", {"base_image_url": str(Path(__file__))})
        assert "files of the server's machine are not read" in sentence_of(refused)
    assert "succeeded" in seen


async def post(url: str, headers: dict[str, str]) -> httpx.Response:
    """Send a message as any client could."""
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.post(url, content=PING, headers={**HEADERS, **headers})


async def test_foreign_pages_are_not_answered(served: Served) -> None:
    """A page whose name was rebound to this machine, or any other site's script, gets nothing; nor is there an API."""
    for headers, status in (
        ({}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 421),
    ):
        assert (await post(served.url, headers)).status_code == status, headers
    for path in ("/fix", "/tasks", "/files", "/docs", "/operations", "/results/../operations"):
        async with httpx.AsyncClient(trust_env=False) as http:
            for method in ("GET", "POST"):
                answer = await http.request(method, f"{served.address}{path}", json={})
                assert answer.status_code in {404, 405}, path


async def test_keys_hold_for_agents_too(tmp_path: Path) -> None:
    """Where keys are given out, an agent needs one, its tasks are its own, and its quota is that of the key."""
    key, digest = new_key()
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[keys]]\nname = "agent"\nhash = "{digest}"\nimages_per_month = 1\n')
    for served in serving(tmp_path / "server", IMGAPI_API_KEYS_FILE=str(keys)):
        for headers in ({}, {"Authorization": "Bearer imgapi_wrong"}):
            answer = await post(served.url, headers)
            assert answer.status_code == 401
            assert answer.json()["code"] == "unauthorized"
        with pytest.raises((MCPError, ExceptionGroup)):
            async with Client(served.url) as client:
                await client.list_tools()
        authorized = httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, trust_env=False)
        async with authorized, Client(streamable_http_client(served.url, http_client=authorized)) as client:
            assert "only a local preview" in str((await client.list_tools()).tools[0].description)
            arguments: dict[str, Any] = {"base_image_url": f"{served.address}/samples/product.jpg", "upscale_factor": 1}
            (link,) = links_of(await client.call_tool("fix", arguments))
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.get(link)).status_code == 200
            assert "1 pictures a month" in sentence_of(await client.call_tool("fix", arguments))
        assert key not in served.log.read_text()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_open_address_without_keys_is_refused(tmp_path: Path, host: str) -> None:
    """Others would spend the operator's account: without keys the server doesn't start on an open address."""
    process = start(tmp_path / "home", "--http", "--host", host)
    try:
        assert process.wait(timeout=WAIT_SECONDS) == 78
    finally:
        process.kill()
        process.communicate()
    told = (tmp_path / "home" / "log").read_text()
    assert "no keys are given out" in told
    assert "Traceback" not in told


def test_missing_package_is_told(tmp_path: Path) -> None:
    """Without the SDK the command says how to get it, and the rest of the command line works."""
    without = "import sys; sys.modules |= {'mcp': None, 'mcp_types': None}; from imgapi.cli import main; main()"
    for arguments, code, words in ((["mcp"], 1, "pip install 'imgapi[mcp]'"), (["edit", "--help"], 0, "remove-bg")):
        command = [sys.executable, "-c", without, *arguments]
        done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert words in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
