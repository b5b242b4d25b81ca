"""The MCP tools, called by the SDK's own client in this process: what they say, take, give and refuse."""

import base64
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp.server.transport_security import TransportSecurityMiddleware
from mcp_types import CallToolResult, ImageContent, ResourceLink, TextContent, Tool
from PIL import Image
from starlette.requests import Request

from conftest import FastClock, Service
from imgapi.commands.client import Service as ServiceClient
from imgapi.commands.client import Upload
from imgapi.commands.mcp_command import _roots
from imgapi.commands.mcp_files import FileRefused, ReadableFiles, WrittenFiles
from imgapi.commands.mcp_server import Tools
from imgapi.commands.mcp_serving import is_loopback, make_front, security_of
from imgapi.commands.mcp_tools import make_tools
from imgapi.commands.operations import OPERATIONS
from imgapi.commands.places import at_server
from imgapi.contract.service import OperationsReply
from imgapi.settings import Settings
from imgapi.sources.fetch import Fetcher, FetchLimits
from pictures import draw_photo, encode, photo_bytes

PNG = encode(draw_photo(640, 520), "png")


@pytest.fixture
async def at(service: Service) -> AsyncIterator[ServiceClient]:
    """The service, as a client of it."""
    async with at_server(service.address, None, Settings.model_construct()) as client:
        yield client


async def call(tools: Tools, name: str, **arguments: Any) -> CallToolResult:
    """Call one tool."""
    async with Client(tools.make_server(), raise_exceptions=True) as client:
        return await client.call_tool(name, arguments)


def text_of(result: CallToolResult) -> str:
    """The text that comes first."""
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def previews_of(result: CallToolResult) -> list[Image.Image]:
    """The pictures that a result shows."""
    blocks = [block for block in result.content if isinstance(block, ImageContent)]
    return [Image.open(io.BytesIO(base64.b64decode(block.data))) for block in blocks]


def links_of(result: CallToolResult) -> list[str]:
    """The links of a result."""
    return [block.uri for block in result.content if isinstance(block, ResourceLink)]


async def tools_of(tools: Tools) -> dict[str, Tool]:
    """The tools that are offered, by name."""
    async with Client(tools.make_server()) as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools}


async def test_nine_tools_take_the_documented_fields(at: ServiceClient) -> None:
    """There are nine tools; their inputs are the documented fields, with types, limits, defaults and descriptions."""
    tools = await tools_of(Tools(at, None, None))
    assert list(tools) == list(OPERATIONS)
    fix = tools["fix"].input_schema
    assert set(fix["properties"]) == {"base_image_url", "prompt", "upscale_factor"}
    assert fix["properties"]["upscale_factor"]["maximum"] == 4
    assert fix["properties"]["prompt"]["default"] == "图像超分。"
    assert fix["required"] == ["base_image_url"]
    assert "Box" in tools["remove_watermark"].input_schema["$defs"]
    assert set(tools["photo_resize"].input_schema["properties"]) == {"image", "min_dim", "max_dim"}
    assert set(tools["convert_to_png"].input_schema["properties"]) == {"image", "keep_animation"}
    for tool in tools.values():
        assert "examples" not in tool.input_schema
        assert "path of a picture" not in json.dumps(tool.input_schema)


async def test_tools_say_cost_and_time(at: ServiceClient) -> None:
    """Each tool says what it costs by the list and how long it takes, and that a preview is only that."""
    tools = await tools_of(Tools(at, None, None))
    told = str(tools["expand"].description)
    assert "only a local preview" in told
    assert "0.14 CNY a picture" in told
    assert "21 seconds" in told
    assert "Free of charge" in str(tools["remove_bg"].description)
    assert "Free of charge" in str(tools["photo_resize"].description)


async def test_tools_name_the_model_that_the_operator_chose(at: ServiceClient) -> None:
    """With DashScope behind it a tool names the first model that serves it, and that one's price."""
    told = (await at.describe()).model_dump()
    told["upstream"] = "dashscope"
    for operation in told["operations"]:
        if operation["path"] == "/fix":
            operation["models"] = ["wan2.7-image"]
    tools = {tool.name: tool for tool in make_tools(OperationsReply.model_validate(told), None, "")}
    assert "costs 0.20 CNY a picture by the list of DashScope (wan2.7-image)" in str(tools["fix"].description)
    assert "preview" not in str(tools["fix"].description)


async def test_edit_gives_link_preview_and_structure(at: ServiceClient, service: Service) -> None:
    """An edit gives the link of each picture, a preview of at most 256 px of each, and the same in structure."""
    samples = f"{service.address}/samples"
    result = await call(
        Tools(at, None, None),
        "change_bg",
        base_image_url=f"{samples}/product.jpg",
        ref_image_url=f"{samples}/landscape.jpg",
        n=2,
    )
    assert not result.is_error
    told = result.structured_content
    assert json.loads(text_of(result)) == told
    assert told["engine"] == "local-preview"
    assert told["usage"] == {"images": 2, "list_price_cny": 0.16}
    assert [picture["url"] for picture in told["pictures"]] == links_of(result)
    for link in links_of(result):
        with Image.open(io.BytesIO(await at.download(link))) as picture:
            assert picture.size == (800, 640)
    previews = previews_of(result)
    assert [max(preview.size) for preview in previews] == [256, 256]


async def test_transparency_is_in_the_preview(at: ServiceClient, service: Service) -> None:
    """The preview of a cut-out shows what is clear."""
    result = await call(Tools(at, None, None), "remove_bg", image_url=f"{service.address}/samples/product.jpg")
    (preview,) = previews_of(result)
    assert (preview.format, preview.mode) == ("PNG", "RGBA")


async def test_utilities_give_links_too(at: ServiceClient) -> None:
    """What a utility makes is kept by the service and given by link, not as base64 in the agent's way."""
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    for name, size in (("photo_resize", (100, 81)), ("photo_resize_url", (100, 81)), ("convert_to_png", (640, 520))):
        field = "image_url" if name.endswith("url") else "image"
        limits = {} if name == "convert_to_png" else {"max_dim": 100}
        result = await call(Tools(at, None, None), name, **{field: url}, **limits)
        assert not result.is_error, text_of(result)
        (link,) = links_of(result)
        with Image.open(io.BytesIO(await at.download(link))) as picture:
            assert picture.size == size
        assert "image_data" not in result.structured_content
        assert len(previews_of(result)) == 1


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("fix", {"image_url": "https://example.com/a.png"}, "did you mean base_image_url?"),
        ("fix", {}, "base_image_url: is required"),
        ("fix", {"base_image_url": 5}, "base_image_url: must be a string"),
        ("photo_resize", {"max_dim": 100}, "image: is required"),
        ("photo_resize", {"image": "data:image/png;base64,", "max_dim": 0}, "max_dim: must be at least 1"),
        (
            "change_bg",
            {"base_image_url": "https://a.example", "ref_image_url": "https://a.example", "n": 9},
            "at most 4",
        ),
        ("fix", {"base_image_url": "data:image/png;base64,aGVsbG8="}, "base_image_url"),
        ("fix", {"base_image_url": "/etc/hostname"}, "must be an http(s) or a data: URL"),
        ("fix", {"base_image_url": "file:///etc/hostname"}, "must be an http(s) or a data: URL"),
        ("convert_to_png", {"image": "http://127.0.0.1/a.png"}, "not on the public internet"),
        ("polish", {}, "There is no tool polish; there are change_bg"),
    ],
)
async def test_what_can_not_be_done_is_an_error_in_one_sentence(
    at: ServiceClient, name: str, arguments: dict[str, Any], sentence: str
) -> None:
    """A refused call is a result with isError and the service's sentence, which the agent can act on."""
    result = await call(Tools(at, None, None), name, **arguments)
    assert result.is_error
    assert len(result.content) == 1
    assert sentence in text_of(result)


async def test_progress_is_told_while_a_task_waits_and_runs(at: ServiceClient, service: Service) -> None:
    """Whoever asks for it is told how the task stands, with time that only grows."""
    seen: list[tuple[float, str]] = []

    async def see(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, message or ""))

    async with Client(Tools(at, None, None).make_server()) as client:
        arguments = {"base_image_url": f"{service.address}/samples/product.jpg"}
        await client.call_tool("fix", arguments, progress_callback=see)
    assert seen == sorted(seen, key=lambda each: each[0])
    assert seen[-1][1] == "succeeded"
    assert "waits, place 1" in seen[0][1]


async def test_call_that_is_given_up_cancels_its_task() -> None:
    """When the agent gives a call up, its task is canceled, so that what waits is not paid for."""
    asked: list[str] = []
    began = anyio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        if request.method == "GET":
            began.set()
        told = {"task_id": "7d0a", "status": "queued", "created_at": "2026-05-04T02:20:30Z", "billed": False}
        return httpx.Response(202, json=told)

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    fetcher = Fetcher(limits=FetchLimits(), allow_private=False, own={})
    base = "http://imgapi.example"
    tools = Tools(ServiceClient(http, base, base, FastClock(1), fetcher, is_local=False), None, None)
    async with Client(tools.make_server()) as client, anyio.create_task_group() as group:
        group.start_soon(client.call_tool, "fix", {"base_image_url": "https://example.com/a.png"})
        await began.wait()
        group.cancel_scope.cancel()
    assert asked[-1] == "POST /tasks/7d0a/cancel"


async def test_pictures_of_this_machine_are_read_and_written(at: ServiceClient, tmp_path: Path) -> None:
    """An agent on this machine names files, and gets files back, which it can name again."""
    (tmp_path / "photo.jpg").write_bytes(photo_bytes("coffee"))
    output = tmp_path / "made"
    tools = Tools(at, ReadableFiles([tmp_path]), WrittenFiles(output, is_ours=False))
    offered = await tools_of(tools)
    assert f"below {tmp_path}" in json.dumps(offered["fix"].input_schema)
    result = await call(tools, "remove_bg", image_url=str(tmp_path / "photo.jpg"))
    (made,) = result.structured_content["pictures"]
    path = Path(made["file"])
    assert path.parent == output
    assert path.name.startswith("photo-remove-bg-")
    assert links_of(result) == [path.as_uri(), made["url"]]
    again = await call(tools, "photo_resize", image=path.as_uri(), max_dim=64)
    with Image.open(again.structured_content["pictures"][0]["file"]) as picture:
        assert max(picture.size) == 64


async def test_nothing_outside_the_opened_folders_is_read(tmp_path: Path) -> None:
    """A path, a link and a file: URL that lead out are refused alike, there or not; so is what is no picture."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(PNG)
    (root / "notes.txt").write_text("no picture")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(root / "pipe.png")
    (root / "own.png").write_bytes(PNG)
    readable = ReadableFiles([root])
    outside = [
        tmp_path / "secret.png",
        tmp_path / "missing.png",
        root / "link.png",
        root / ".." / "secret.png",
        (tmp_path / "secret.png").as_uri(),
    ]
    for path in outside:
        with pytest.raises(FileRefused, match="may not be read"):
            await readable.read(str(path))
    for name, words in (("notes.txt", "is no picture"), ("pipe.png", "is no file"), ("gone.png", "can't be read")):
        with pytest.raises(FileRefused, match=words):
            await readable.read(str(root / name))
    with pytest.raises(FileRefused, match="neither a URL nor a path"):
        await readable.read("a\0b")
    assert (await readable.read(str(root / "own.png"))).content == PNG


def test_whole_machine_is_not_opened_by_accident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that starts the server in / opens no folder; one that names folders opens those."""
    monkeypatch.chdir("/")
    assert _roots(None) == []
    assert _roots([tmp_path]) == [tmp_path]
    monkeypatch.chdir(tmp_path)
    assert _roots(None) == [tmp_path]


async def test_only_our_own_folder_is_ever_emptied(tmp_path: Path) -> None:
    """Old pictures go from a folder of imgapi's own; a folder that somebody chose keeps everything."""
    for is_ours in (True, False):
        folder = tmp_path / str(is_ours)
        written = WrittenFiles(folder, is_ours=is_ours)
        old = await written.write(Upload(PNG, "photo.png"), "fix")
        os.utime(old, (0, 0))
        new = await WrittenFiles(folder, is_ours=is_ours).write(Upload(PNG, "photo.png"), "fix")
        assert new.exists()
        assert old.exists() != is_ours


@pytest.mark.parametrize(
    ("host", "port", "own_url", "good", "bad"),
    [
        (
            "127.0.0.1",
            5002,
            "http://127.0.0.1:5002",
            ["127.0.0.1:5002", "localhost:5002", "[::1]:5002"],
            ["evil.example"],
        ),
        (
            "0.0.0.0",
            80,
            "https://tools.example.com",
            ["tools.example.com", "localhost"],
            ["evil.example", "10.0.0.1"],
        ),
        ("192.0.2.7", 5002, "http://192.0.2.7:5002", ["192.0.2.7:5002"], ["localhost:5002", "evil.example:5002"]),
    ],
)
async def test_hosts_and_origins_are_ours(host: str, port: int, own_url: str, good: list[str], bad: list[str]) -> None:
    """A page whose name was rebound to this machine is not answered: neither its Host nor its Origin is ours."""
    judge = TransportSecurityMiddleware(security_of(host, port, own_url))

    async def is_answered(**headers: str) -> bool:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "path": "/mcp", "headers": raw}
        return await judge.validate_request(Request(scope)) is None

    for name in good:
        assert await is_answered(host=name), name
    for name in bad:
        assert not await is_answered(host=name), name
        assert not await is_answered(host=good[0], origin=f"http://{name}"), name
    assert await is_answered(host=good[0], origin=own_url)


async def test_name_that_callers_use_is_answered(at: ServiceClient) -> None:
    """Behind a public name the tools answer under it, and under no other."""
    server = Tools(at, None, None).make_server()
    security = security_of("0.0.0.0", 5002, "https://tools.example.com")
    front = make_front(server, None, None, Settings.model_construct(), security)
    headers = {"Accept": "application/json, text/event-stream"}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    transport = httpx.ASGITransport(front)
    async with server.session_manager.run(), httpx.AsyncClient(transport=transport, headers=headers) as http:
        statuses = [
            (await http.post(f"https://{host}/mcp", json=ping)).status_code
            for host in ("tools.example.com", "evil.example", "127.0.0.1")
        ]
    assert statuses == [200, 421, 421]


def test_loopback_is_told_from_the_rest() -> None:
    """Only addresses that nobody else reaches count as this machine's own."""
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.7", "example.com", "")] == [False] * 5
