"""Names of kept files and the URLs they stand in."""

import pytest

from imgapi.results.kept_names import RESULT_NAME, expires_at, make_name
from imgapi.results.links import Links

NOW = 1_800_000_000.25


@pytest.mark.parametrize("expires", [0.001, NOW, 253_402_300_800.0, 1e300])
def test_a_name_tells_its_expiry(expires: float) -> None:
    """A name carries the instant it was made for, to a millisecond, and the last one there is for any beyond."""
    name = make_name(expires, ".jpg")
    assert RESULT_NAME.fullmatch(name)
    assert expires_at(name) == pytest.approx(min(expires, 16**11 / 1000), abs=0.001)
    assert expires_at(name) >= min(expires, (16**11 - 1) / 1000)


def test_names_are_in_the_order_of_their_expiry() -> None:
    """Names sorted as text are sorted by expiry: sweeping a bucket stops at the first that lives."""
    instants = [NOW + seconds for seconds in (-1e9, -1, 0, 0.002, 1, 1e6, 1e9)]
    assert sorted(names := [make_name(instant, ".png") for instant in instants]) == names


@pytest.mark.parametrize("name", ["", "x.png", "0" * 31 + ".png", "0" * 43, "../" + "0" * 43 + ".png"])
def test_what_is_no_name_has_no_expiry(name: str) -> None:
    """Text that is no name of a kept file is refused, not read as one."""
    with pytest.raises(ValueError, match="name of a kept file"):
        expires_at(name)


def test_links_are_written_and_read() -> None:
    """A URL leads back to the name it was written for."""
    links = Links("https://images.example.com/api/results/")
    name = make_name(NOW, ".png")
    assert links.write(name) == f"https://images.example.com/api/results/{name}"
    assert links.read(links.write(name)) == name


@pytest.mark.parametrize(
    "url",
    [
        "{name}",
        "https://images.example.com/files/{name}",
        "https://evil.example.com/results/{name}",
        "https://images.example.com/results/",
        "https://images.example.com/results/{name}?x=1",
        "https://images.example.com/results/x/{name}",
        "https://images.example.com/results/photo.png",
    ],
)
def test_other_urls_are_no_links(url: str) -> None:
    """A URL that was not written here names nothing of ours."""
    written = url.format(name=make_name(NOW, ".png"))
    assert Links("https://images.example.com/results/").read(written) is None


def test_the_base_of_links_ends_in_a_slash() -> None:
    """A base without a slash would make names a part of the path's last word."""
    with pytest.raises(ValueError, match="slash"):
        Links("https://images.example.com/results")
