"""Painters: virtual try-on."""

import numpy as np
import pytest
from PIL import Image

from drawings import decode, encode, mug, person, photo, pixels, shirt, studio, trousers
from imgapi.emulator.painters import PaintingRefused, PaintJob, paint


def dress(figure: Image.Image, *, resolution: object = -1, **garments: Image.Image) -> bytes:
    """Run the try-on painter."""
    pictures = {name: encode(image) for name, image in ({"person": figure} | garments).items()}
    return paint(PaintJob("try_on", pictures, {"resolution": resolution, "restore_face": True}, "", 1, 1))[0]


def test_both_garments_are_worn_and_the_face_is_unchanged() -> None:
    """Jersey turns striped red and cream, trousers green; face, hands and wall stay."""
    figure = person()
    content = dress(figure, top=shirt(), bottom=trousers())
    painted = decode(content)
    assert (painted.format, painted.size) == ("JPEG", figure.size)
    before, after = pixels(figure), pixels(painted)
    trunk = after[120:200, 138:162]
    assert (trunk[:, :, 0] > trunk[:, :, 2] + 15).mean() > 0.9
    assert trunk[:, :, 1].std() > 40
    legs = after[250:350, 134:142]
    assert (legs[:, :, 1] > legs[:, :, 0] + 25).mean() > 0.9
    assert np.abs(after[42:92, 128:172] - before[42:92, 128:172]).mean() < 3
    assert np.abs(after[:, :90] - before[:, :90]).mean() < 2


def test_one_garment_leaves_the_other_half() -> None:
    """With a top alone the trousers stay as they were."""
    figure = person()
    after = pixels(decode(dress(figure, top=shirt())))
    assert np.abs(after[250:350, 134:142] - pixels(figure)[250:350, 134:142]).mean() < 4
    assert np.abs(after[120:200, 138:162] - pixels(figure)[120:200, 138:162]).mean() > 40


def test_half_length_photo_of_a_person_is_accepted() -> None:
    """The astronaut's suit takes the stripes; her face stays."""
    astronaut = photo("astronaut", 512)
    after, before = pixels(decode(dress(astronaut, top=shirt(), bottom=trousers()))), pixels(astronaut)
    assert np.abs(after[330:480, 120:220] - before[330:480, 120:220]).mean() > 30
    assert np.abs(after[80:165, 200:260] - before[80:165, 200:260]).mean() < 4
    assert np.abs(after[:250, 380:] - before[:250, 380:]).mean() < 4


@pytest.mark.parametrize(("resolution", "size"), [(1024, (576, 1024)), (1280, (720, 1280))])
def test_resolution_sets_the_size(resolution: int, size: tuple[int, int]) -> None:
    """1024 and 1280 give the upstream's two portrait sizes."""
    assert decode(dress(person(), top=shirt(), resolution=resolution)).size == size


def test_another_resolution_is_refused() -> None:
    """Only -1, 1024 and 1280 exist."""
    with pytest.raises(PaintingRefused, match="resolution"):
        dress(person(), top=shirt(), resolution=512)


def two_people() -> Image.Image:
    """Two figures side by side."""
    image, figure = studio(460, 400), person().crop((90, 0, 210, 400))
    image.paste(figure, (60, 0))
    image.paste(figure, (280, 0))
    return image


@pytest.mark.parametrize("image", [photo("coffee", 240), mug()[0], studio(300, 400), two_people()])
def test_nobody_or_several_people_are_refused(image: Image.Image) -> None:
    """No person, or more than one, is the upstream's InvalidPerson with its own words."""
    with pytest.raises(PaintingRefused, match="no human body or multi human bodies") as refusal:
        dress(image, top=shirt())
    assert refusal.value.code == "InvalidPerson"


def test_no_garment_is_refused() -> None:
    """Without any garment the answer is the upstream's InvalidGarment."""
    with pytest.raises(PaintingRefused, match="Missing clothing image") as refusal:
        dress(person())
    assert refusal.value.code == "InvalidGarment"


def test_jpeg_says_who_painted_it_and_is_repeatable() -> None:
    """The comment names the local preview; the same job gives the same bytes."""
    content = dress(person(), bottom=trousers())
    assert decode(content).info["comment"] == b"imgapi local preview"
    assert content == dress(person(), bottom=trousers())


def test_swatch_of_fabric_is_worn_whole() -> None:
    """A picture that is nothing but fabric dresses the top in its colour."""
    after = pixels(decode(dress(person(), top=Image.new("RGB", (200, 200), (120, 40, 130)))))
    trunk = np.median(after[120:200, 138:162].reshape(-1, 3), axis=0)
    assert trunk[0] > trunk[1] + 40
    assert trunk[2] > trunk[1] + 40


def test_dress_covers_both_halves() -> None:
    """A garment far taller than wide, given as top with no bottom, is a dress: the trousers are covered too."""
    gown = Image.new("RGB", (160, 400), (250, 250, 250))
    gown.paste((150, 30, 90), (50, 20, 110, 380))
    after = pixels(decode(dress(person(), top=gown)))
    assert (after[250:340, 134:142, 0] > after[250:340, 134:142, 1] + 40).mean() > 0.8


def test_bottom_alone_needs_visible_legs() -> None:
    """A half-length portrait can't wear trousers: refused, not returned unchanged."""
    with pytest.raises(PaintingRefused) as refusal:
        dress(photo("astronaut", 400), bottom=trousers())
    assert refusal.value.code == "InvalidPerson"
