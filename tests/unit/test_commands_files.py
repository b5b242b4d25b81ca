"""What a command line names and where its results go: found, named, skipped and written."""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from imgapi.commands.sources import (
    LeaveOut,
    Source,
    UnreadableSource,
    UsageError,
    find_sources,
    is_single,
    one_source,
)
from imgapi.commands.targets import Target, UnwritableTarget, output_folder, plan_targets
from pictures import draw_photo, encode

PNG = encode(draw_photo(8, 6), "png")
JPEG = encode(draw_photo(8, 6), "jpeg")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own to work in, with an album of pictures and other things."""
    monkeypatch.chdir(tmp_path)
    for name in ("album/a.jpg", "album/b.PNG", "album/notes.txt", "album/.hidden.png", "album/below/c.webp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return tmp_path


def found(*arguments: str, recursive: bool = False, output: str = ".") -> list[str]:
    """The pictures that a command line names."""
    leave_out = LeaveOut(Path(output), "fix")
    return [each.text for each in find_sources(arguments, recursive=recursive, leave_out=leave_out)]


def targets(arguments: Sequence[str], output: str | None, *, recursive: bool = False) -> list[Target]:
    """Where the results of a command line go."""
    single = is_single(arguments)
    folder = output_folder(output, single=single)
    sources = find_sources(arguments, recursive=recursive, leave_out=LeaveOut(folder, "fix"))
    return plan_targets(sources, output, "fix", single=single)


def test_folders_and_patterns_mean_their_pictures() -> None:
    """A folder means the pictures in it, to the bottom if asked, and a pattern those that match; hidden files never."""
    assert found("album") == ["album/a.jpg", "album/b.PNG"]
    assert found("album", recursive=True) == ["album/a.jpg", "album/b.PNG", "album/below/c.webp"]
    assert found("album/*") == ["album/a.jpg", "album/b.PNG"]
    assert found("album/**/*.webp") == ["album/below/c.webp"]


def test_file_named_like_a_pattern_is_that_file(here: Path) -> None:
    """A file whose name has brackets is found by its name."""
    (here / "photo[1].jpg").write_bytes(PNG)
    assert found("photo[1].jpg") == ["photo[1].jpg"]
    assert is_single(["photo[1].jpg"])


def test_picture_named_twice_is_worked_on_once() -> None:
    """However often it is named, a picture is edited, and paid for, once."""
    assert found("album/a.jpg", "album", "./album/a.jpg", "https://a.example/x.png", "https://a.example/x.png") == [
        "album/a.jpg",
        "album/b.PNG",
        "https://a.example/x.png",
    ]


def test_results_of_an_earlier_run_are_no_input(here: Path) -> None:
    """A folder that also holds results doesn't mean those, and neither does one with the output folder in it."""
    for name in ("album/a-fix.png", "album/a-fix-2.png", "album/out/a-fix.png", "album/out/z.png"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_bytes(PNG)
    assert found("album", recursive=True, output="album/out") == ["album/a.jpg", "album/b.PNG", "album/below/c.webp"]
    assert found("album", output="album") == ["album/a.jpg", "album/b.PNG"]
    assert found("album/a-fix.png") == ["album/a-fix.png"], "named by itself, it is meant"


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("nothing.png", "There is no file nothing.png"),
        ("*.bmp", r"No picture matches \*\.bmp"),
        ("empty", "empty holds no picture itself; --recursive searches"),
    ],
)
def test_what_is_not_there_is_told_before_anything_is_done(here: Path, argument: str, sentence: str) -> None:
    """A name, pattern or folder without a picture is a mistake of the command line."""
    (here / "empty").mkdir()
    with pytest.raises(UsageError, match=sentence):
        found("album/a.jpg", argument)


def test_only_files_are_read(here: Path) -> None:
    """A pipe where a picture should be is refused and not waited for."""
    os.mkfifo(here / "pipe.png")
    with pytest.raises(UnreadableSource, match="is no file"):
        one_source("pipe.png").read()
    assert one_source("album/a.jpg").read().content == PNG
    with pytest.raises(UnreadableSource, match="can't be read"):
        Source("x", "x", here / "gone.png").read()


def test_one_result_goes_to_the_file_that_is_named() -> None:
    """One picture and a file name: the result gets that name, with an ending or without."""
    for name in ("cut.png", "cut"):
        (target,) = targets(["album/a.jpg"], name)
        assert target.write([PNG], overwrite=False) == [Path(name)]
        assert target.find_made() == [Path(name)]
    assert targets(["album/a.jpg"], "cut.jpeg")[0].misleads(PNG)
    assert not targets(["album/a.jpg"], "cut.jpeg")[0].misleads(JPEG)


def test_results_in_a_folder_are_named_after_their_sources() -> None:
    """`<stem>-<operation>.<ext>`, with the ending of what was made, and the folders of the source below."""
    (target,) = targets(["album/a.jpg"], None)
    assert target.write([JPEG], overwrite=False) == [Path("a-fix.jpg")]
    made = [each.write([PNG], overwrite=False)[0] for each in targets(["album"], "out", recursive=True)]
    assert [str(each) for each in made] == ["out/a-fix.png", "out/b-fix.png", "out/below/c-fix.png"]
    (url,) = targets(["https://example.com/photos/My%20cat.jpeg?size=3"], "out/")
    assert url.write([PNG], overwrite=False) == [Path("out/My cat-fix.png")]


def test_results_of_one_name_are_kept_apart_the_same_way_each_time(here: Path) -> None:
    """Pictures of one name get a mark each, and find their results by it again."""
    (here / "album/a.png").write_bytes(PNG)
    arguments = ["album/a.jpg", "album/a.png", "album/b.PNG"]
    first, second = targets(arguments, "out"), targets(arguments[::-1], "out")
    assert first == second[::-1]
    assert len({each.base for each in first}) == 3
    assert first[2].base == "b-fix"


def test_several_results_are_numbered_and_the_first_is_last() -> None:
    """Several pictures get numbers; the first name appears last, so that half a set doesn't pass for a whole one."""
    (target,) = targets(["album/a.jpg"], "out/")
    (Path("out")).mkdir()
    (Path("out") / "a-fix-2.jpg").write_bytes(PNG)
    with pytest.raises(UnwritableTarget, match=r"a-fix-2\.jpg is there"):
        target.write([PNG, JPEG, PNG], overwrite=False)
    assert target.find_made() == []
    (Path("out") / "a-fix-2.jpg").unlink()
    pictures = [PNG, JPEG, PNG]
    names = ["out/a-fix-1.png", "out/a-fix-2.jpg", "out/a-fix-3.png"]
    assert [str(each) for each in target.write(pictures, overwrite=False)] == names
    assert [str(each) for each in target.find_made()] == names
    (many,) = targets(["album/a.jpg"], "frames/")
    assert many.write([PNG] * 12, overwrite=False)[0] == Path("frames/a-fix-01.png")
    assert len(many.find_made()) == 12


def test_file_that_is_there_is_never_lost() -> None:
    """Without --overwrite a file that somebody wrote meanwhile stays; with it, it is replaced; nothing else is left."""
    target = Target(Path("out"), "a-fix")
    target.write([PNG], overwrite=False)
    with pytest.raises(UnwritableTarget, match="--overwrite"):
        target.write([encode(draw_photo(9, 9), "png")], overwrite=False)
    assert Path("out/a-fix.png").read_bytes() == PNG
    target.write([encode(draw_photo(9, 9), "png")], overwrite=True)
    assert Path("out/a-fix.png").read_bytes() != PNG
    assert [path.name for path in Path("out").iterdir()] == ["a-fix.png"]


def test_what_is_no_picture_is_not_written() -> None:
    """An answer that is no picture leaves no file."""
    with pytest.raises(UnwritableTarget, match="no picture"):
        Target(Path("out"), "a-fix").write([b"<html>"], overwrite=False)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "output", "sentence"),
    [
        (["album"], "-", "can't go to standard output"),
        (["album"], "album/a.jpg", "is a file"),
    ],
)
def test_several_results_need_a_folder(arguments: list[str], output: str, sentence: str) -> None:
    """Several results can't go to one file or to standard output."""
    with pytest.raises(UsageError, match=sentence):
        targets(arguments, output)


def test_terminal_gets_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture from standard input goes to standard output, unless that is a terminal."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert targets(["-"], None)[0].is_standard
    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(UsageError, match="terminal"):
        targets(["-"], None)
