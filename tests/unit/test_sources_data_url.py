"""Data URLs: strict decoding with the bound first."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgapi.errors import CallerError, ImageTooLarge, InvalidParameter
from imgapi.sources.data_url import decode_data_url

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><title>猫</title></svg>'


def encode(content: bytes, media_type: str = "image/png") -> str:
    """Write a base64 data URL."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


@given(st.binary(max_size=200))
def test_base64_comes_back_as_it_was(content: bytes) -> None:
    """What was encoded is what is decoded."""
    assert decode_data_url(encode(content), max_bytes=200) == content


def test_a_large_picture_is_decoded_whole() -> None:
    """A picture that spans several pieces of decoding comes back whole."""
    content = bytes(range(256)) * 10_000
    assert decode_data_url(encode(content), max_bytes=len(content)) == content


@pytest.mark.parametrize("padding", ["=", "=="])
def test_padding_before_the_end_is_refused(padding: str) -> None:
    """Padding at a place where a piece of decoding ends doesn't let a second picture follow."""
    head = "A" * ((1 << 20) - len(padding)) + padding
    with pytest.raises(InvalidParameter):
        decode_data_url("data:image/png;base64," + head + "AAAA", max_bytes=1 << 24)


def test_the_header_is_read_without_regard_to_case_and_parameters() -> None:
    """Scheme, type and the base64 mark may be in any case, and parameters may stand between."""
    assert decode_data_url("DATA:Image/PNG;name=a.png;BASE64,aGk=", max_bytes=10) == b"hi"


@pytest.mark.parametrize(
    "url",
    [
        "data:image/svg+xml," + quote(SVG),
        "data:image/svg+xml;charset=utf-8," + quote(SVG),
        "data:image/svg+xml;utf8=1," + SVG,
    ],
)
def test_an_svg_may_be_percent_encoded(url: str) -> None:
    """An SVG data URL may carry its text, escaped or not."""
    assert decode_data_url(url, max_bytes=1000) == SVG.encode()


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:,",
        "data:,hello",
        "data:text/html;base64,aGk=",
        "data:text/plain,hi",
        "data:image/png,hi",
        "data:image/;base64,aGk=",
        "data:image/png;base64",
        "data:image/png;base64;x=1,aGk=",
        "data:image/png;base64,aGk",
        "data:image/png;base64,aGk==",
        "data:image/png;base64,a Gk=",
        "data:image/png;base64,aG\nk=",
        "data:image/png;base64,aGk=aGk=",
        "data:image/png;base64,aGk%3D",
        "data:image/png;base64,-_-_",
        "data:image/png;base64,图图图图",
        "data:image/svg+xml,%zz",
        "data:image/svg+xml,\ud800",
        "data:image/png;" + "a=" + "b" * 300 + ";base64,aGk=",
    ],
)
def test_broken_data_urls_are_refused(url: str) -> None:
    """What is not exactly a picture's data URL is the caller's mistake."""
    with pytest.raises(InvalidParameter):
        decode_data_url(url, max_bytes=100)


@pytest.mark.parametrize("extra", [1, 2, 3, 10_000])
def test_the_bound_is_exact(extra: int) -> None:
    """A picture of exactly the allowed size passes; any byte more is refused."""
    assert len(decode_data_url(encode(b"x" * 100), max_bytes=100)) == 100
    with pytest.raises(ImageTooLarge, match="100"):
        decode_data_url(encode(b"x" * (100 + extra)), max_bytes=100)
    with pytest.raises(ImageTooLarge, match="100"):
        decode_data_url("data:image/svg+xml," + "x" * (100 + extra), max_bytes=100)


@given(st.text(max_size=80))
def test_any_text_is_judged_without_a_crash(text: str) -> None:
    """Whatever follows the scheme is decoded or refused as the caller's mistake."""
    for url in ("data:" + text, "data:image/png;base64," + text, "data:image/svg+xml," + text):
        try:
            assert len(decode_data_url(url, max_bytes=50)) <= 50
        except CallerError:
            continue
