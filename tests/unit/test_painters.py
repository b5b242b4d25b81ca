"""Painters: what all of them share."""

import contextlib
import pickle

import pytest

from drawings import cut_mug, decode, mug, paint, photo
from drawings import paint_job as job
from imgapi.emulator.painters import PaintingRefused, PaintJob


def test_every_png_says_who_painted_it() -> None:
    """A text chunk names the local preview, another one its warnings."""
    painted = decode(paint(job("expand", base=mug()[0], left_scale=1.5))[0])
    assert painted.info["Software"] == "imgapi local preview"
    assert "scale_over_1_25" in painted.info["Warning"]


def test_same_job_gives_the_same_bytes_and_another_seed_others() -> None:
    """Bytes are a function of the job."""
    base = cut_mug()[0]
    one = paint(job("background", base=base, ref=photo("coffee"), count=2, seed=1))
    assert one == paint(job("background", base=base, ref=photo("coffee"), count=2, seed=1))
    assert one[1] != paint(job("background", base=base, ref=photo("coffee"), count=2, seed=2))[1]
    filler = paint(job("expand", base=photo("chelsea", 200), left_scale=1.5))
    assert filler == paint(job("expand", base=photo("chelsea", 200), left_scale=1.5))


def test_refusal_and_job_survive_the_way_to_a_worker() -> None:
    """Job and refusal are picklable with all they carry."""
    refusal = pickle.loads(pickle.dumps(PaintingRefused("InvalidPerson", "nobody")))  # noqa: S301 - our own bytes
    assert (refusal.code, refusal.message) == ("InvalidPerson", "nobody")
    task = job("expand", base=b"x", left_scale=1.5)
    assert pickle.loads(pickle.dumps(task)) == task  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "task",
    [
        job("colorization", base=b"x"),
        job("expand", base=b"no picture", left_scale=1.5),
        job("expand", left_scale=1.5),
        job("expand", base=b"x", count=5),
    ],
)
def test_unusable_jobs_are_refused(task: PaintJob) -> None:
    """An unknown operation, unreadable or missing pictures and a wrong count are InvalidParameter."""
    with pytest.raises(PaintingRefused) as refusal:
        paint(task)
    assert refusal.value.code == "InvalidParameter"


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 400), (700, 6)])
@pytest.mark.parametrize("operation", ["background", "expand", "super_resolution", "remove_watermark", "try_on"])
def test_tiny_and_narrow_pictures_are_painted_or_refused(operation: str, size: tuple[int, int]) -> None:
    """No shape of picture breaks a painter: there is a result of some size or a refusal."""
    tiny = photo("coffee").resize(size)
    task = job(operation, base=tiny, ref=tiny, person=tiny, top=tiny, left_scale=1.5, upscale_factor=2)
    with contextlib.suppress(PaintingRefused):
        assert decode(paint(task)[0]).width >= size[0]
