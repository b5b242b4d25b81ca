"""The MCP server: nine tools that call the public API, for agents on this machine or over HTTP."""

import asyncio
import base64
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    ImageContent,
    ListToolsResult,
    PaginatedRequestParams,
    ResourceLink,
    TextContent,
)

from imgapi import __version__
from imgapi.commands.client import Service, ServiceRefused, ServiceUnreachable, Upload, links_of
from imgapi.commands.mcp_files import FileRefused, ReadableFiles, WrittenFiles
from imgapi.commands.mcp_tools import ToolPicture, ToolReply, make_tools, picture_fields
from imgapi.commands.operations import CONVERT, OPERATIONS, Operation
from imgapi.commands.reports import describe
from imgapi.commands.requests import write_body
from imgapi.commands.sources import is_url
from imgapi.commands.targets import UnwritableTarget
from imgapi.errors import ImgapiError
from imgapi.pictures.signatures import sniff_format
from imgapi.sources.data_url import is_data_url

INSTRUCTIONS = (
    "Edits pictures: replaces and removes backgrounds, dresses people, continues and enlarges pictures, removes "
    "watermarks, resizes and converts. Each tool says what it costs and how long it takes; what a task cost is in "
    "`usage` and `billed` of its result."
)
PREVIEW_PIXELS = 256
# Clients take messages of at most a megabyte.
_PREVIEWS_BYTES = 600 * 1024
_MAX_PREVIEWS = 4
_CANCEL_SECONDS = 3.0


class CallFailed(Exception):
    """A call that can't be served; the message says why, to the agent."""


@dataclass(frozen=True, slots=True)
class Made:
    """A picture that was made: its link, its bytes, or both."""

    link: str | None
    content: Upload | None


@dataclass(frozen=True, slots=True)
class Tools:
    """The nine tools over one service.

    Args:
        service: Does the work.
        readable: The files that may be named; None where callers are not on this machine.
        written: Where pictures are put for callers on this machine; None where there are only links.
        hands_on_keys: Whether the key of each call is what the service is asked with.
    """

    service: Service
    readable: ReadableFiles | None
    written: WrittenFiles | None
    hands_on_keys: bool = False

    def make_server(self) -> Server[dict[str, Any]]:
        """Make the server, for any transport."""
        return Server(
            "imgapi",
            version=__version__,
            title="imgapi",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    def _for_caller(self, context: ServerRequestContext[Any]) -> Service:
        if not self.hands_on_keys or context.request is None:
            return self.service
        _, _, key = context.request.headers.get("authorization", "").partition(" ")
        return self.service.as_caller(key.strip() or context.request.headers.get("x-api-key"))

    async def _list(
        self, context: ServerRequestContext[Any], _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        told = None
        with suppress(ServiceRefused, ServiceUnreachable):
            told = await self._for_caller(context).describe()
        files = None if self.readable is None else self.readable.words
        results = "Gives links and a small preview."
        if self.written is not None:
            results = f"Writes pictures to {self.written.folder}; gives their paths, links and a small preview."
        return ListToolsResult(tools=make_tools(told, files, results))

    async def _call(self, context: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        try:
            return await self._serve(context, params.name, params.arguments or {})
        except (CallFailed, FileRefused, ServiceRefused, ServiceUnreachable, UnwritableTarget) as exc:
            sentence = str(exc)
            if isinstance(exc, ServiceRefused) and exc.retry_after is not None:
                sentence += f" Try again in {exc.retry_after:.0f} s."
        except ImgapiError as exc:
            sentence = exc.sentence
        except OSError as exc:
            sentence = f"The picture can't be written: {exc.strerror}."
        return CallToolResult(content=[TextContent(text=sentence)], is_error=True)

    async def _serve(
        self, context: ServerRequestContext[Any], name: str, arguments: Mapping[str, Any]
    ) -> CallToolResult:
        operation = OPERATIONS.get(name)
        if operation is None:
            raise CallFailed(f"There is no tool {name[:100]}; there are {', '.join(OPERATIONS)}.")
        pictures, fields = await self._read(operation, arguments)
        call = _Call(self._for_caller(context), operation, context)
        told, made = await call.run(fields, pictures)
        given = [await self._give(call, each) for each in made]
        known = {field: told[field] for field in ToolReply.model_fields if field in told}
        reply = ToolReply.model_validate({**known, "operation": name, "pictures": [picture for picture, _ in given]})
        structured = reply.model_dump(mode="json", exclude_none=True)
        content: list[ContentBlock] = [TextContent(text=reply.model_dump_json(exclude_none=True))]
        content += [link for _, links in given for link in links]
        content += await call.previews(made)
        return CallToolResult(content=content, structured_content=structured)

    async def _read(
        self, operation: Operation, arguments: Mapping[str, Any]
    ) -> tuple[dict[str, str | Upload], dict[str, Any]]:
        """Part a call's arguments into pictures and the rest, checked."""
        names = picture_fields(operation, arguments)
        rest = {name: value for name, value in arguments.items() if name not in names}
        # The picture of a form is no field of its model.
        checked = rest if operation.takes_form else arguments
        mistake = None if operation.takes_form and operation.picture in rest else operation.find_mistake(checked)
        if mistake is None and operation.picture not in names:
            mistake = f"{operation.picture}: is required, and must be a URL or a path"
        if mistake is not None:
            raise CallFailed(mistake)
        return {name: await self._read_picture(name, arguments[name]) for name in names}, rest

    async def _read_picture(self, name: str, text: str) -> str | Upload:
        if is_url(text):
            return text
        if self.readable is None:
            raise CallFailed(f"{name}: must be an http(s) or a data: URL; files of the server's machine are not read")
        return await self.readable.read(text)

    async def _give(self, call: "_Call", made: Made) -> tuple[ToolPicture, list[ContentBlock]]:
        """Hand a picture over: as a file where the caller is on this machine, and as a link where there is one."""
        link = made.link
        is_hidden = link is not None and self.service.is_local and self.written is not None
        if link is not None and is_hidden and self.service.is_own(link):
            # Nothing outside this process can follow it.
            link = None
        path, content = None, made.content
        if self.written is not None:
            content = content or Upload(await call.service.download(made.link or ""), call.stem)
            path = await self.written.write(content, call.operation.command)
        elif link is None and content is not None:
            link = await call.service.keep(content)
        media_type = None if content is None else _media_type(content.content)
        places = [each for each in (None if path is None else path.as_uri(), link) if each is not None]
        blocks: list[ContentBlock] = [
            ResourceLink(uri=each, name=f"{call.operation.name} result", mime_type=media_type) for each in places
        ]
        return ToolPicture(url=link, file=None if path is None else str(path)), blocks


@dataclass(slots=True)
class _Call:
    """One call of a tool.

    Args:
        service: The service, as this caller may use it.
        operation: What is asked for.
        context: Where progress is told.
        stem: What files are called after.
    """

    service: Service
    operation: Operation
    context: ServerRequestContext[Any]
    stem: str = "image"

    async def run(
        self, fields: Mapping[str, Any], pictures: Mapping[str, str | Upload]
    ) -> tuple[Mapping[str, Any], list[Made]]:
        """Do the work; return what the service says, and the pictures."""
        picture = pictures[self.operation.picture]
        if isinstance(picture, Upload):
            self.stem = picture.filename
        elif not is_data_url(picture):
            self.stem = picture.partition("?")[0]
        if self.operation.is_edit:
            task = await self._edit(fields, pictures)
            return task, [Made(link, None) for link in links_of(task)]
        if self.operation.name == CONVERT:
            upload = picture if isinstance(picture, Upload) else await self.service.fetch(picture)
            reply = await self.service.convert(upload, fields)
            frames = await self.service.frames(reply)
            told = {**reply, "frames": len(reply["image_paths"])}
            return told, [Made(None, Upload(frame, self.stem)) for frame in frames]
        reply = await self.service.resize(picture, fields)
        return reply, [Made(None, Upload(base64.b64decode(reply["image_data"]), self.stem))]

    async def _edit(self, fields: Mapping[str, Any], pictures: Mapping[str, str | Upload]) -> dict[str, Any]:
        body = await asyncio.to_thread(write_body, fields, pictures)
        began = asyncio.get_running_loop().time()
        task_id: str | None = None

        async def report(task: Mapping[str, Any]) -> None:
            nonlocal task_id
            task_id = task["task_id"]
            elapsed = asyncio.get_running_loop().time() - began
            await self.context.session.report_progress(round(elapsed, 1), None, describe(task))

        try:
            # Each call is a request of its own; the key only makes it safe to send it again.
            return await self.service.edit(self.operation.name, body, key=uuid.uuid4().hex, report=report)
        except asyncio.CancelledError:
            if task_id is not None:
                with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
                    await self.service.cancel(task_id)
            raise

    async def previews(self, made: Sequence[Made]) -> list[ContentBlock]:
        """Have small versions of the pictures made; one that can't be made is left out."""
        # What has no transparency is many times smaller as JPEG.
        is_opaque = self.operation.is_edit and self.operation.name != "remove_bg"
        accept = "image/jpeg" if is_opaque else "image/png, image/jpeg"
        blocks: list[ContentBlock] = []
        total_bytes = 0
        for each in made[:_MAX_PREVIEWS]:
            picture = each.link or each.content
            if picture is None:
                continue
            try:
                content, media_type = await self.service.preview(picture, PREVIEW_PIXELS, accept)
            except (ServiceRefused, ServiceUnreachable):
                continue
            total_bytes += len(content)
            if total_bytes <= _PREVIEWS_BYTES:
                blocks.append(ImageContent(data=base64.b64encode(content).decode(), mime_type=media_type))
        return blocks


def _media_type(content: bytes) -> str | None:
    name = sniff_format(content)
    return None if name is None else "image/svg+xml" if name == "svg" else f"image/{name}"
