"""Names of uploads, reduced to what is safe in a folder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgapi.results.names import make_stem


@pytest.mark.parametrize(
    ("upload_name", "stem"),
    [
        ("photo.jpg", "photo"),
        ("photo", "photo"),
        ("my photo (2).JPEG", "my photo (2)"),
        ("archive.tar.gif", "archive.tar"),
        ("v1.2 final", "v1.2 final"),
        ("猫の写真.webp", "猫の写真"),
        ("cafe\u0301.png", "caf\u00e9"),
        ("../../etc/passwd.png", "passwd"),
        ("..\\..\\windows\\system.bmp", "system"),
        ("C:\\Users\\me\\photo.jpg", "photo"),
        ("/absolute/photo.jpg", "photo"),
        ("..", "image"),
        ("", "image"),
        (".", "image"),
        ("/", "image"),
        (".hidden.png", "hidden"),
        ("-rf.png", "rf"),
        ("a\x00b\nc.png", "a_b_c"),
        ('a<b>:"|?*c.png', "a_b______c"),
        ("con.png", "_con"),
        ("LPT1.x.png", "_LPT1.x"),
        ("trailing. .png", "trailing"),
        ("🐱.png", "image"),
        ("\ud800x.png", "_x"),
        ("%2e%2e%2fx.png", "_2e_2e_2fx"),
        ("a\u202egnp.exe.png", "a_gnp.exe"),
    ],
)
def test_a_name_keeps_what_is_safe_of_it(upload_name: str, stem: str) -> None:
    """Letters of any script stay; folders, extension, signs with a meaning and reserved names go."""
    assert make_stem(upload_name) == stem


@given(st.text(max_size=400))
def test_any_name_becomes_one_plain_bounded_component(upload_name: str) -> None:
    """Whatever the upload is called, the stem is one visible path component of bounded length."""
    stem = make_stem(upload_name)
    assert 0 < len(stem) <= 81
    assert len(stem.encode()) <= 201
    assert not set(stem) & set('/\\:*?"<>|%\x00\n')
    assert stem.isprintable()
    assert stem[0] not in ".- "
    assert stem[-1] not in ". "


@pytest.mark.parametrize("letter", ["a", "猫", "𠀀"])
def test_a_long_name_is_cut(letter: str) -> None:
    """A name of thousands of letters is cut between letters to what every file system takes."""
    stem = make_stem(letter * 5000 + ".png")
    assert set(stem) == {letter}
    assert len(stem.encode()) <= 200
