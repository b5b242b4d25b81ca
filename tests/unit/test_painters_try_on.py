"""Painters: virtual try-on."""

import numpy as np
import pytest
from PIL import Image

from drawings import decode, encode, figure, mug, paint, person, photo, pixels, shirt, studio, trousers
from imgapi.emulator import painters
from imgapi.emulator.painters import PaintingRefused, PaintJob


def try_on(wearer: Image.Image, *, resolution: object = -1, **garments: Image.Image) -> PaintJob:
    """A try-on job."""
    pictures = {name: encode(image) for name, image in ({"person": wearer} | garments).items()}
    return PaintJob("try_on", pictures, {"resolution": resolution, "restore_face": True}, "", 1, 1)


def dress(wearer: Image.Image, *, resolution: object = -1, **garments: Image.Image) -> bytes:
    """Run the try-on painter."""
    return paint(try_on(wearer, resolution=resolution, **garments))[0]


def test_both_garments_are_worn_and_the_face_is_unchanged() -> None:
    """Jersey turns striped red and cream, trousers green; face, hands and wall stay."""
    wearer = person()
    content = dress(wearer, top=shirt(), bottom=trousers())
    painted = decode(content)
    assert (painted.format, painted.size) == ("JPEG", wearer.size)
    before, after = pixels(wearer), pixels(painted)
    trunk = after[120:200, 138:162]
    assert (trunk[:, :, 0] > trunk[:, :, 2] + 15).mean() > 0.9
    assert trunk[:, :, 1].std() > 40
    legs = after[250:350, 134:142]
    assert (legs[:, :, 1] > legs[:, :, 0] + 25).mean() > 0.9
    assert np.abs(after[42:92, 128:172] - before[42:92, 128:172]).mean() < 3
    assert np.abs(after[:, :90] - before[:, :90]).mean() < 2


def test_one_garment_leaves_the_other_half() -> None:
    """With a top alone the trousers stay as they were."""
    wearer = person()
    after = pixels(decode(dress(wearer, top=shirt())))
    assert np.abs(after[250:350, 134:142] - pixels(wearer)[250:350, 134:142]).mean() < 4
    assert np.abs(after[120:200, 138:162] - pixels(wearer)[120:200, 138:162]).mean() > 40


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
    image, one = studio(460, 400), person().crop((90, 0, 210, 400))
    image.paste(one, (60, 0))
    image.paste(one, (280, 0))
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


@pytest.mark.parametrize(("skin", "tone"), [("brown", (170, 115, 80)), ("dark", (105, 68, 48))])
def test_bare_arms_and_legs_stay_bare(skin: str, tone: tuple[int, int, int]) -> None:
    """Short sleeves and shorts take the fabric; forearms and shins keep their skin, whatever its tone."""
    wearer = figure(skin=skin, short_sleeves=True, short_legs=True, top=(230, 200, 60), bottom=(150, 160, 190))
    after = pixels(decode(dress(wearer, top=shirt(), bottom=trousers())))
    for part in (after[180:205, 99:103], after[180:205, 197:201], after[310:355, 132:138], after[310:355, 163:168]):
        assert np.abs(np.median(part.reshape(-1, 3), axis=0) - tone).max() < 12
    shorts = np.median(after[245:275, 134:142].reshape(-1, 3), axis=0)
    assert shorts[1] > shorts[0] + 25


def test_old_print_does_not_show_through() -> None:
    """White dots on the old jersey leave no trace in a plain new one."""
    plain = Image.new("RGB", (200, 200), (120, 40, 130))
    dotted = pixels(decode(dress(figure(print_on_top=True), top=plain)))[115:200, 132:168].astype(float)
    assert dotted.mean(axis=2).std() < 8


def test_person_small_and_aside_is_dressed_and_nothing_else() -> None:
    """A figure at the side of a large frame takes the fabric; the wall far from it stays as it was."""
    wearer = figure(ground=studio(500, 420), place=(120, 100), tall=260)
    after, before = pixels(decode(dress(wearer, top=Image.new("RGB", (200, 200), (120, 40, 130))))), pixels(wearer)
    trunk = np.median(after[165:215, 112:128].reshape(-1, 3), axis=0)
    assert trunk[0] > trunk[1] + 40
    assert np.abs(after[:, 240:] - before[:, 240:]).mean() < 2


@pytest.mark.parametrize(
    "garment",
    [
        photo("astronaut", 300),
        photo("china", 300),
        photo("chelsea", 300),
        Image.new("RGB", (200, 200), (252, 252, 252)),
        Image.new("RGBA", (200, 200), (10, 10, 10, 0)),
    ],
    ids=["person", "landscape", "cat", "empty", "transparent"],
)
def test_picture_without_a_garment_is_refused(garment: Image.Image) -> None:
    """A person, a landscape, an animal or an empty picture is no garment: InvalidGarment."""
    with pytest.raises(PaintingRefused) as refusal:
        dress(person(), top=garment)
    assert refusal.value.code == "InvalidGarment"


def cut_shirt() -> Image.Image:
    """The shirt as RGBA without its ground."""
    image = shirt().convert("RGBA")
    outline = (pixels(shirt()).min(axis=2) < 249) * 255
    image.putalpha(Image.fromarray(outline.astype(np.uint8)))
    return image


@pytest.mark.parametrize(
    "garment", [cut_shirt(), shirt().rotate(20, fillcolor=(250, 250, 250))], ids=["alpha", "turned"]
)
def test_garment_with_alpha_or_turned_is_worn(garment: Image.Image) -> None:
    """Transparency is honoured and a crooked garment is set upright: red and cream stripes on the trunk."""
    trunk = pixels(decode(dress(person(), top=garment)))[120:200, 138:162]
    assert (trunk[:, :, 0] > trunk[:, :, 2] + 15).mean() > 0.9
    across, along = trunk[:, :, 1].std(axis=1).mean(), trunk[:, :, 1].std(axis=0).mean()
    assert along > 2 * across


def test_warnings_say_what_is_doubtful_and_what_had_no_effect() -> None:
    """A bust is low in confidence and touches the border; restore_face is named as ignored."""
    painting = painters.paint(try_on(photo("astronaut", 400), top=shirt()))
    assert painting.warnings == ("low_confidence", "touches_border")
    assert painting.ignored == ("restore_face",)


def test_figure_without_a_face_is_dressed_with_a_warning() -> None:
    """Where no face shows, the outline alone is measured, and the answer says so."""
    assert "no_face" in painters.paint(try_on(person(), top=shirt())).warnings
