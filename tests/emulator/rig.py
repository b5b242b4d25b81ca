"""An emulator on a bench: virtual time, drawn pictures, a painter of a few lines."""

import asyncio
import base64
import functools
import heapq
import io
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

import httpx
import numpy as np
from PIL import Image, ImageOps

from imgapi.emulator.app import Emulator, EmulatorConfig
from imgapi.emulator.painters import Painting, PaintingRefused, PaintJob
from imgapi.errors import SourceUnreachable
from imgapi.matting.cutout import Cutout

T = TypeVar("T")
BASE = "http://emulator.test"
KEY = "Bearer sk-test"
START = 1_777_860_030.123  # 2026-05-04 10:00:30.123, UTC+8
BACKGROUND_PATH = "/api/v1/services/aigc/background-generation/generation"
EDIT_PATH = "/api/v1/services/aigc/image2image/image-synthesis"
WAN_PATH = "/api/v1/services/aigc/image-generation/generation"
CHAT_PATH = "/api/v1/services/aigc/multimodal-generation/generation"


class VirtualClock:
    """Time that stands still until it is advanced."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0

    def monotonic(self) -> float:
        return self._elapsed

    def time(self) -> float:
        return START + self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._number, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking sleepers in order and letting each do what it can."""
        await settle()
        end = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, due)
            if not future.done():
                future.set_result(None)
            await settle()
        self._elapsed = end
        await settle()


async def settle() -> None:
    """Let what runs in the background come to rest; files are written by threads, so real moments pass."""
    for _ in range(12):
        await asyncio.sleep(0.001)


@functools.cache
def draw(width: int = 640, height: int = 560, mode: str = "RGB", image_format: str = "PNG", seed: int = 1) -> bytes:
    """Draw a coarse pattern, big enough in bytes for every model."""
    dice = np.random.default_rng(seed)
    pixels = dice.integers(0, 255, (48, 48, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    if mode == "RGBA":
        alpha = Image.new("L", picture.size, 0)
        alpha.paste(255, (width // 4, height // 4, width * 3 // 4, height * 3 // 4))
        picture.putalpha(alpha)
    elif mode != "RGB":
        picture = picture.convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, image_format)
    return buffer.getvalue()


def to_data_url(content: bytes) -> str:
    """Carry a picture in its own URL."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def paint_simply(job: PaintJob) -> Painting:
    """Do something visible of about the right size for each operation."""
    if "refuse" in job.prompt:
        raise PaintingRefused("InvalidPerson", "The input image has no human body or multi human bodies.")
    name = "person" if job.operation == "try_on" else "base"
    picture = Image.open(io.BytesIO(job.pictures[name])).convert("RGB")
    if job.operation == "expand":
        sides = {
            side: float(str(job.parameters.get(f"{side}_scale", 1.0))) - 1
            for side in ("left", "top", "right", "bottom")
        }
        border = tuple(
            round(share * (picture.width if side in {"left", "right"} else picture.height))
            for side, share in sides.items()
        )
        picture = ImageOps.expand(picture, border, "white")
    elif job.operation == "super_resolution":
        factor = int(str(job.parameters.get("upscale_factor", 1)))
        picture = picture.resize((picture.width * factor, picture.height * factor))
    else:
        picture = ImageOps.invert(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if job.operation == "try_on" else "PNG")
    return Painting((buffer.getvalue(),) * job.count, ("drawn_simply",), ("prompt",))


def cut_out_simply(content: bytes) -> Cutout:
    """Make the middle of a picture its subject."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    alpha = Image.new("L", picture.size, 0)
    alpha.paste(255, (picture.width // 4, picture.height // 4, picture.width // 2, picture.height // 2))
    picture.putalpha(alpha)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Cutout(buffer.getvalue(), 1.0, ())


async def run_inline(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run pixel work where it is called: the pictures here are small."""
    return function(*args, **kwargs)


class Web:
    """The pictures that can be downloaded, and how often each was."""

    def __init__(self) -> None:
        self.pictures: dict[str, bytes] = {
            "http://pictures.test/rgba.png": draw(mode="RGBA"),
            "http://pictures.test/rgb.png": draw(seed=2),
            "http://pictures.test/palette.png": draw(mode="P"),
            "http://pictures.test/small.png": draw(300, 200),
            "http://pictures.test/photo.jpg": draw(image_format="JPEG", seed=3),
            "http://pictures.test/text.png": b"this is no picture at all",
            "http://pictures.test/cut.png": draw()[:2000],
        }
        self.fetched: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if url not in self.pictures:
            raise SourceUnreachable("there is nothing at this URL")
        return self.pictures[url]


class Rig:
    """An emulator, its clock, its web and a client."""

    def __init__(self, **figures: Any) -> None:
        self.clock = VirtualClock()
        self.web = Web()
        self.run_pixels: Callable[..., Any] = run_inline
        figures.setdefault("public_url", BASE)
        self.emulator = Emulator(
            EmulatorConfig(**figures),
            fetch=self.web.fetch,
            run_pixels=self._run,
            paint=paint_simply,
            cut_out=cut_out_simply,
            clock=self.clock,
        )
        transport = httpx.ASGITransport(app=self.emulator.app)
        self.client = httpx.AsyncClient(transport=transport, base_url=BASE, headers={"Authorization": KEY})

    async def __aenter__(self) -> Self:
        await self.emulator.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.emulator.__aexit__(None, None, None)

    async def _run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        result: T = await self.run_pixels(function, *args, **kwargs)
        return result

    async def submit(
        self, path: str, body: Mapping[str, object] | bytes, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Post a submit, asynchronous unless it goes to the chat path."""
        mode = {} if path == CHAT_PATH else {"X-DashScope-Async": "enable"}
        sent = {**mode, **(headers or {})}
        if isinstance(body, bytes):
            return await self.client.post(path, content=body, headers=sent)
        return await self.client.post(path, json=body, headers=sent)

    async def start(self, path: str, body: Mapping[str, object], *, headers: Mapping[str, str] | None = None) -> str:
        """Submit what must be accepted; return the task's id."""
        response = await self.submit(path, body, headers=headers)
        assert response.status_code == 200, response.text
        return str(response.json()["output"]["task_id"])

    async def poll(self, task_id: str) -> dict[str, Any]:
        """Look at a task once."""
        response = await self.client.get(f"/api/v1/tasks/{task_id}")
        assert response.status_code == 200, response.text
        document: dict[str, Any] = response.json()
        return document

    async def finish(self, task_id: str) -> dict[str, Any]:
        """Return a task's last document; its end needs no time, only a few turns of the loop."""
        for _ in range(200):
            document = await self.poll(task_id)
            if document["output"]["task_status"] in {"SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"}:
                return document
            await self.clock.advance(0.06)
        raise AssertionError("the task did not end")

    async def open_result(self, url: str) -> Image.Image:
        """Download a result and open it."""
        response = await self.client.get(url)
        assert response.status_code == 200, response.text
        return Image.open(io.BytesIO(response.content))


def background(**changes: object) -> dict[str, object]:
    """A body for the background model; changes go to input or parameters by name."""
    source: dict[str, object] = {
        "base_image_url": "http://pictures.test/rgba.png",
        "ref_image_url": "http://pictures.test/rgb.png",
    }
    return _change("wanx-background-generation-v2", source, {"model_version": "v3", "n": 1}, changes)


def edit(function: str = "super_resolution", **changes: object) -> dict[str, object]:
    """A body for the edit model."""
    source: dict[str, object] = {
        "function": function,
        "prompt": "图像超分。",
        "base_image_url": "http://pictures.test/rgb.png",
    }
    return _change("wanx2.1-imageedit", source, {"n": 1}, changes)


def try_on(model: str = "aitryon", **changes: object) -> dict[str, object]:
    """A body for the try-on models."""
    source: dict[str, object] = {
        "person_image_url": "http://pictures.test/photo.jpg",
        "top_garment_url": "http://pictures.test/rgb.png",
    }
    return _change(model, source, {"resolution": -1, "restore_face": True}, changes)


def chat(text: str, *images: str, model: str = "qwen-image-2.0", **parameters: object) -> dict[str, object]:
    """A body for the chat-style models."""
    content: list[dict[str, str]] = [{"image": image} for image in images]
    content.append({"text": text})
    return {"model": model, "input": {"messages": [{"role": "user", "content": content}]}, "parameters": parameters}


_INPUT_FIELDS = frozenset(
    {"base_image_url", "ref_image_url", "ref_prompt", "neg_ref_prompt", "reference_edge", "function", "prompt"}
    | {"mask_image_url", "person_image_url", "top_garment_url", "bottom_garment_url", "coarse_image_url"}
)


def _change(
    model: str, source: dict[str, object], parameters: dict[str, object], changes: Mapping[str, object]
) -> dict[str, object]:
    for name, value in changes.items():
        target = source if name in _INPUT_FIELDS else parameters
        if value is None:
            target.pop(name, None)
        else:
            target[name] = value
    return {"model": model, "input": source, "parameters": parameters}
