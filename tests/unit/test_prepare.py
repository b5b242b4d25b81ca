"""Inputs are made to fit: what fits goes on untouched, anything else is changed, told and handed over."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, TypeVar

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

from emulator.rig import Rig
from imgapi.clock import SystemClock
from imgapi.contract.edits import (
    ChangeBgRequest,
    ChangeClothRequest,
    ExpandRequest,
    FixRequest,
    RemoveWatermarkRequest,
)
from imgapi.dashscope.client import Account, DashScope
from imgapi.edits.catalogue import EDITS
from imgapi.edits.edit import Candidate
from imgapi.edits.prepare import Inputs, Prepared, Preparer
from imgapi.errors import CallerError, ImageTooLarge, InvalidParameter, Overloaded, SourceUnreachable, UnreadableImage
from imgapi.matting.cutout import Cutout, cut_out
from imgapi.parts.upstream import InProcessTransport
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.probe import probe
from imgapi.sources.fetch import Origin, Source
from pictures import draw_cutout, draw_photo, encode, photo, svg_bytes

T = TypeVar("T")
URL = "https://example.com/照片.jpg"


class Shelf:
    """A source of pictures that were put there, in place of the network."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}
        self.fetched: list[str] = []

    def put(self, url: str, content: bytes, origin: Origin = Origin.PUBLIC) -> str:
        """Make a URL lead to a picture."""
        self.sources[url] = Source(content, origin)
        return url

    async def fetch(self, url: str) -> Source:
        """Return what was put there."""
        self.fetched.append(url)
        if url not in self.sources:
            message = "The picture could not be downloaded."
            raise SourceUnreachable(message)
        return self.sources[url]


class Hands:
    """Pixel work beside the event loop, without processes."""

    async def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run it in a thread."""
        return await asyncio.to_thread(function, *args, **kwargs)


class Bench:
    """A preparer on a bench: pictures from a shelf, uploads to an emulator."""

    def __init__(self, rig: Rig, http: httpx.AsyncClient) -> None:
        self.rig = rig
        self.shelf = Shelf()
        account = Account("http://emulator.test/api/v1", SecretStr("sk-test"))
        self.dashscope = DashScope(http, http, account, SystemClock())

    def preparer(self, *, adapt: bool = True, limits: PictureLimits | None = None) -> Preparer:
        """The preparer itself."""
        fetcher: Any = self.shelf
        workers: Any = Hands()

        async def cut_out_beside(content: bytes) -> Cutout:
            return await asyncio.to_thread(cut_out, content)

        return Preparer(fetcher, workers, limits or PictureLimits(), self.dashscope, cut_out_beside, adapt=adapt)

    @property
    def uploads(self) -> int:
        """How many files the upstream took."""
        return self.rig.emulator.ledger.call_counts["upload"]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench with an empty shelf."""
    async with Rig() as rig, httpx.AsyncClient(transport=InProcessTransport(rig.emulator.app)) as http:
        yield Bench(rig, http)


def candidate(operation: str, model: str) -> Candidate[Any]:
    """One model of one edit."""
    return next(each for each in EDITS[operation].candidates if each.model == model)


async def prepare_fix(bench: Bench, content: bytes, origin: Origin = Origin.PUBLIC, *, adapt: bool = True) -> Prepared:
    """Prepare one picture for super-resolution."""
    inputs = Inputs(FixRequest(base_image_url=bench.shelf.put(URL, content, origin)))
    return await bench.preparer(adapt=adapt).prepare(candidate("fix", "wanx2.1-imageedit"), inputs)


async def test_public_picture_that_fits_goes_on_as_its_url(bench: Bench) -> None:
    """Nothing is changed or uploaded; the URL is percent-encoded, since models refuse raw Chinese characters."""
    prepared = await prepare_fix(bench, encode(draw_photo(800, 600), "jpeg"))
    picture = prepared.pictures["base_image_url"]
    assert picture.url == "https://example.com/%E7%85%A7%E7%89%87.jpg"
    assert (picture.width, picture.height) == (800, 600)
    assert prepared.changes == ()
    assert bench.uploads == 0


@pytest.mark.parametrize("origin", [Origin.DATA, Origin.OWN, Origin.PRIVATE])
async def test_picture_that_the_upstream_can_not_reach_is_handed_over(bench: Bench, origin: Origin) -> None:
    """A data URL, a file of ours and a private address are uploaded as they are, and nothing is told."""
    prepared = await prepare_fix(bench, encode(draw_photo(800, 600), "jpeg"), origin)
    assert prepared.pictures["base_image_url"].url.startswith("oss://")
    assert prepared.changes == ()
    assert bench.uploads == 1


@pytest.mark.parametrize(
    ("content", "change", "size"),
    [
        (encode(draw_photo(300, 200), "jpeg"), "resized 300x200 to 768x512", (768, 512)),
        (encode(draw_photo(5000, 2500), "jpeg"), "resized 5000x2500 to 4096x2048", (4096, 2048)),
        (encode(draw_photo(640, 560).convert("P"), "gif"), "gif", (640, 560)),
        (svg_bytes(attributes='width="600" height="600"'), "svg", (600, 600)),
    ],
    ids=["small", "large", "gif", "svg"],
)
async def test_misfit_is_made_to_fit_and_told(bench: Bench, content: bytes, change: str, size: tuple[int, int]) -> None:
    """A picture outside the model's limits is resized or converted, and the caller is told."""
    prepared = await prepare_fix(bench, content)
    picture = prepared.pictures["base_image_url"]
    assert picture.url.startswith("oss://")
    assert (picture.width, picture.height) == size
    assert any(change in told for told in prepared.changes), prepared.changes


async def test_panorama_that_no_size_makes_fit_is_refused(bench: Bench) -> None:
    """A picture whose ratio can't fit the model's sides is a caller's error that names the field and the limit."""
    with pytest.raises(CallerError, match="4096") as caught:
        await prepare_fix(bench, encode(draw_photo(4000, 100), "jpeg"))
    assert caught.value.field == "base_image_url"


async def test_prepare_off_refuses_with_limit_and_value(bench: Bench) -> None:
    """With preparation off a misfit is refused, naming the limit and the actual value; nothing is uploaded."""
    with pytest.raises(InvalidParameter, match="512") as caught:
        await prepare_fix(bench, encode(draw_photo(300, 200), "jpeg"), adapt=False)
    assert "300" in str(caught.value) or "200" in str(caught.value)
    assert caught.value.field == "base_image_url"
    assert bench.uploads == 0


def background(bench: Bench, base: bytes) -> Inputs:
    """A request for another background."""
    reference = bench.shelf.put("https://example.com/ref.jpg", encode(draw_photo(700, 500, seed=3), "jpeg"))
    return Inputs(ChangeBgRequest(base_image_url=bench.shelf.put(URL, base), ref_image_url=reference))


async def test_subject_is_cut_out_for_the_background_model(bench: Bench) -> None:
    """A photo becomes an RGBA PNG of the same size; the change is told under its field."""
    base = encode(photo("astronaut").convert("RGB"), "jpeg")
    prepared = await bench.preparer().prepare(
        candidate("change_bg", "wanx-background-generation-v2"), background(bench, base)
    )
    assert prepared.changes == ("base_image_url: cut out the subject as RGBA PNG",)
    assert prepared.pictures["ref_image_url"].url == "https://example.com/ref.jpg"
    assert prepared.pictures["base_image_url"].url.startswith("oss://")


async def test_cut_out_that_is_one_already_goes_on_untouched(bench: Bench) -> None:
    """An RGBA PNG with clear pixels is what the background model takes."""
    base = encode(draw_cutout(640, 480), "png")
    prepared = await bench.preparer().prepare(
        candidate("change_bg", "wanx-background-generation-v2"), background(bench, base)
    )
    assert prepared.changes == ()
    assert bench.uploads == 0


async def test_prepare_off_asks_for_a_cut_out(bench: Bench) -> None:
    """With preparation off the background model's picture must come cut out, and the error says so."""
    base = encode(draw_photo(640, 480), "jpeg")
    with pytest.raises(InvalidParameter, match="RGBA PNG"):
        await bench.preparer(adapt=False).prepare(
            candidate("change_bg", "wanx-background-generation-v2"), background(bench, base)
        )


async def test_large_cut_out_is_brought_below_2048(bench: Bench) -> None:
    """The background model's long edge is 2048 px."""
    base = encode(draw_cutout(2400, 1200), "png")
    prepared = await bench.preparer().prepare(
        candidate("change_bg", "wanx-background-generation-v2"), background(bench, base)
    )
    picture = prepared.pictures["base_image_url"]
    assert (picture.width, picture.height) == (2048, 1024)
    assert prepared.changes == ("base_image_url: resized 2400x1200 to 2048x1024",)


@pytest.mark.parametrize("model", ["wanx-background-generation-v2", "wan2.7-image"])
async def test_svg_is_rendered_before_anything_else(bench: Bench, model: str) -> None:
    """An SVG has no pixels until it is rendered; each model of an edit takes one as its subject."""
    base = svg_bytes(attributes='width="600" height="600" viewBox="0 0 120 80"')
    prepared = await bench.preparer().prepare(candidate("change_bg", model), background(bench, base))
    picture = prepared.pictures["base_image_url"]
    assert (picture.width, picture.height) == (600, 600)
    assert picture.url.startswith("oss://")
    assert any(change.startswith("base_image_url: ") for change in prepared.changes)


async def test_canvas_is_enlarged_for_a_successor_of_outpainting(bench: Bench) -> None:
    """A successor gets the picture on a larger grey canvas, by the documented geometry."""
    url = bench.shelf.put(URL, encode(draw_photo(800, 600), "jpeg"))
    request = ExpandRequest(base_image_url=url, top_scale=1.0, bottom_scale=1.0, left_scale=1.5, right_scale=1.25)
    prepared = await bench.preparer().prepare(candidate("expand", "wan2.7-image"), Inputs(request))
    picture = prepared.pictures["base_image_url"]
    assert (picture.width, picture.height) == (1400, 600)
    assert prepared.changes[0] == "put on an enlarged canvas"


async def test_sources_are_fetched_once_for_all_models(bench: Bench) -> None:
    """When an edit moves on to its next model, nothing is downloaded again."""
    names = {
        name: bench.shelf.put(f"https://example.com/{name}.jpg", encode(draw_photo(700, 700, seed=seed), "jpeg"))
        for seed, name in enumerate(("top_garment_url", "bottom_garment_url", "person_image_url"))
    }
    inputs = Inputs(ChangeClothRequest(**names))
    preparer = bench.preparer()
    for model in ("aitryon-plus", "wan2.7-image"):
        await preparer.prepare(candidate("change_cloth", model), inputs)
    assert sorted(bench.shelf.fetched) == sorted(names.values())


async def test_errors_name_their_field(bench: Bench) -> None:
    """A source that can't be fetched, read or held is told under its own field."""
    good = bench.shelf.put("https://example.com/good.jpg", encode(draw_photo(640, 560), "jpeg"))
    bad = bench.shelf.put("https://example.com/bad.jpg", b"no picture")
    cases: list[tuple[str, type[Exception]]] = [
        (bad, UnreadableImage),
        ("https://example.com/gone.jpg", SourceUnreachable),
    ]
    for url, kind in cases:
        request = ChangeClothRequest(top_garment_url=good, bottom_garment_url=url, person_image_url=good)
        with pytest.raises((kind, CallerError)) as caught:
            await bench.preparer().prepare(candidate("change_cloth", "aitryon"), Inputs(request))
        assert getattr(caught.value, "field", None) == "bottom_garment_url"
    request = ChangeClothRequest(top_garment_url=good, bottom_garment_url=good, person_image_url=good)
    with pytest.raises(ImageTooLarge):
        await bench.preparer(limits=PictureLimits(max_pixels=1000)).prepare(
            candidate("change_cloth", "aitryon"), Inputs(request)
        )


async def test_small_file_is_brought_above_the_smallest(bench: Bench) -> None:
    """The try-on models refuse files below 5 KB, however large the picture is."""
    tiny = bench.shelf.put(URL, encode(Image.new("RGB", (200, 200), "white"), "png"))
    request = ChangeClothRequest(top_garment_url=tiny, bottom_garment_url=tiny, person_image_url=tiny)
    inputs = Inputs(request)
    prepared = await bench.preparer().prepare(candidate("change_cloth", "aitryon"), inputs)
    assert bench.uploads == 3
    assert prepared.changes
    assert probe(inputs.sources["top_garment_url"][0].content, PictureLimits()).size_bytes < 5 * 1024


async def test_marked_area_becomes_a_mask_of_the_prepared_size(bench: Bench) -> None:
    """The mask has the size of the picture as the model gets it, marks what was marked, and is handed over."""
    url = bench.shelf.put(URL, encode(draw_photo(300, 200), "jpeg"))
    mask = bench.shelf.put("https://example.com/mask.png", encode(Image.new("L", (300, 200)), "png"))
    request = RemoveWatermarkRequest.model_validate({"image_url": url, "boxes": [[150, 100, 75, 50]], "mask_url": mask})
    inputs = Inputs(request)
    preparer = bench.preparer()
    for _ in range(2):
        prepared = await preparer.prepare(candidate("remove_watermark", "wanx2.1-imageedit"), inputs)
    assert prepared.changes == ("resized 300x200 to 768x512",)
    drawn = prepared.pictures["mask"]
    assert (drawn.width, drawn.height) == (768, 512)
    assert drawn.url.startswith("oss://")
    assert sorted(bench.shelf.fetched) == sorted([url, mask])
    assert bench.uploads == 4


async def test_nothing_marked_needs_no_mask(bench: Bench) -> None:
    """Without boxes and mask the picture goes on alone."""
    url = bench.shelf.put(URL, encode(draw_photo(800, 600), "jpeg"))
    prepared = await bench.preparer().prepare(
        candidate("remove_watermark", "wanx2.1-imageedit"), Inputs(RemoveWatermarkRequest(image_url=url))
    )
    assert set(prepared.pictures) == {"image_url"}
    assert bench.uploads == 0


async def test_unusable_marks_name_their_field(bench: Bench) -> None:
    """A mask of other proportions is told under `mask_url`, a box outside the picture under `boxes`."""
    url = bench.shelf.put(URL, encode(draw_photo(800, 600), "jpeg"))
    tall = bench.shelf.put("https://example.com/tall.png", encode(Image.new("L", (60, 80), 255), "png"))
    for marks, field in (({"mask_url": tall}, "mask_url"), ({"boxes": [[800, 0, 5, 5]]}, "boxes")):
        request = RemoveWatermarkRequest.model_validate({"image_url": url, **marks})
        with pytest.raises(InvalidParameter) as caught:
            await bench.preparer().prepare(candidate("remove_watermark", "wanx2.1-imageedit"), Inputs(request))
        assert caught.value.field == field


async def test_doubts_about_a_cut_out_are_passed_on(bench: Bench) -> None:
    """What the matting warns of reaches the caller of the edit that needed it."""

    async def doubtful(content: bytes) -> Cutout:
        return Cutout(encode(draw_cutout(640, 480), "png"), 0.2, ("low_confidence",))

    preparer = replace(bench.preparer(), cut_out=doubtful)
    base = encode(draw_photo(640, 480), "jpeg")
    prepared = await preparer.prepare(candidate("change_bg", "wanx-background-generation-v2"), background(bench, base))
    assert prepared.warnings == ("low_confidence",)


async def test_overload_names_no_field(bench: Bench) -> None:
    """Only what the caller sent is about a field."""

    class Busy:
        async def run(self, *_: Any) -> None:
            message = "Busy."
            raise Overloaded(message)

    workers: Any = Busy()
    request = FixRequest(base_image_url=bench.shelf.put(URL, encode(draw_photo(800, 600), "jpeg")))
    with pytest.raises(Overloaded) as caught:
        await replace(bench.preparer(), workers=workers).prepare(candidate("fix", "wanx2.1-imageedit"), Inputs(request))
    assert caught.value.field is None
