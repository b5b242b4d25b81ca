"""The pictures that a command line names: files, folders, patterns, URLs, and standard input."""

import glob
import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from imgapi.commands.client import Upload
from imgapi.results.names import make_stem
from imgapi.sources.data_url import is_data_url

STANDARD = "-"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".svg", ".tif", ".tiff", ".gif", ".bmp"})
# What a server takes is its own to say; this only bounds memory here.
MAX_FILE_BYTES = 256 * 1024 * 1024
_PATTERN = re.compile(r"[*?\[]")
_SHOWN_CHARACTERS = 120


class UsageError(Exception):
    """A command line that can't be meant so; the message says what to write instead."""


class UnreadableSource(Exception):
    """A picture that was named could not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """A picture to be worked on.

    Args:
        text: As it is shown; a data URL is cut short.
        stem: What files made of it are called after.
        path: Where it lies, if it is a file.
        url: Where it is, if it is none; None for standard input.
        below: The folder it lies in, seen from the folder that was named.
    """

    text: str
    stem: str
    path: Path | None = None
    url: str | None = None
    below: Path = Path()

    @property
    def is_standard(self) -> bool:
        """Whether it is what comes in."""
        return self.path is None and self.url is None

    @property
    def mark(self) -> str:
        """Tells it from other pictures of the same name; the same at every run."""
        where = str(self.path.absolute()) if self.path is not None else self.url or self.text
        return hashlib.sha256(where.encode("utf-8", "surrogateescape")).hexdigest()[:8]

    def read(self) -> Upload:
        """Read a file, or standard input, whole.

        Raises:
            UnreadableSource: It is not there any more, no file, or too large.
        """
        if self.path is None:
            return Upload(_bounded(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), self.text), f"{self.stem}")
        try:
            # Not to wait for the other end of what turns out to be a pipe.
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise UnreadableSource(f"{self.text} is no file.")
                return Upload(_bounded(file.read(MAX_FILE_BYTES + 1), self.text), self.path.name)
        except OSError as exc:
            raise UnreadableSource(f"{self.text} can't be read: {exc.strerror}.") from exc


def _bounded(content: bytes, text: str) -> bytes:
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableSource(f"{text} has more than {MAX_FILE_BYTES} bytes.")
    return content


def is_url(text: str) -> bool:
    """Whether something is a URL rather than a path."""
    return is_data_url(text) or text.lower().startswith(("http://", "https://"))


def one_source(text: str) -> Source:
    """Read one file, URL or `-` of a command line.

    Raises:
        UsageError: There is no such file.
    """
    if text == STANDARD:
        return Source(STANDARD, "image")
    if is_url(text):
        shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
        return Source(shown, "image" if is_data_url(text) else make_stem(unquote(urlsplit(text).path)), url=text)
    path = Path(text)
    if path.is_dir():
        raise UsageError(f"{text} is a folder, and one picture is wanted.")
    if not path.exists():
        raise UsageError(f"There is no file {text}.")
    return Source(text, path.stem, path)


def is_single(arguments: Sequence[str]) -> bool:
    """Whether a command line names one picture, and not a set that may happen to have one."""
    return len(arguments) == 1 and not (_is_pattern(arguments[0]) or Path(arguments[0]).is_dir())


def find_sources(arguments: Iterable[str], *, recursive: bool, leave_out: "LeaveOut") -> list[Source]:
    """Find every picture that is named, each once, in order.

    Args:
        arguments: Files, folders, patterns, URLs, or `-`.
        recursive: Whether folders are searched to the bottom.
        leave_out: What folders and patterns don't mean.

    Raises:
        UsageError: Something is not there, or holds no picture.
    """
    found: dict[str, Source] = {}
    for argument in arguments:
        for source in _expand(argument, recursive=recursive, leave_out=leave_out):
            name = source.url or (STANDARD if source.path is None else str(source.path.absolute()))
            found.setdefault(name, source)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """What was made by an earlier run, which folders and patterns don't mean.

    Args:
        folder: Where results are written.
        command: The operation, with which their names end.
    """

    folder: Path
    command: str

    def takes(self, path: Path, root: Path) -> bool:
        """Whether a picture below a folder is meant by it."""
        if re.search(rf"-{re.escape(self.command)}(?:-\d+)?$", path.stem):
            return False
        output = self.folder.resolve()
        return root.resolve() not in output.parents or output not in path.resolve().parents


def _expand(argument: str, *, recursive: bool, leave_out: LeaveOut) -> list[Source]:
    if argument == STANDARD or is_url(argument):
        return [one_source(argument)]
    path = Path(argument)
    if path.is_dir():
        return _search(path, recursive=recursive, leave_out=leave_out)
    if not _is_pattern(argument):
        return [one_source(argument)]
    # A pattern may begin anywhere, and `Path.glob` begins in a folder.
    files = [Path(each) for each in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207
    taken = [each for each in files if each.is_file() and _is_picture(each) and leave_out.takes(each, each.parent)]
    if not taken:
        raise UsageError(f"No picture matches {argument}.")
    return [Source(str(each), each.stem, each) for each in taken]


def _is_pattern(argument: str) -> bool:
    is_plain = argument == STANDARD or is_url(argument)
    return not is_plain and _PATTERN.search(argument) is not None and not Path(argument).exists()


def _search(folder: Path, *, recursive: bool, leave_out: LeaveOut) -> list[Source]:
    taken: list[Source] = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if recursive and not each.startswith("."))
        below = Path(place).relative_to(folder)
        paths = [Path(place) / each for each in sorted(files)]
        meant = [path for path in paths if _is_picture(path) and leave_out.takes(path, folder)]
        taken += [Source(str(path), path.stem, path, below=below) for path in meant]
    if not taken:
        hint = "" if recursive else " itself; --recursive searches its folders too"
        raise UsageError(f"{folder} holds no picture{hint}.")
    return taken


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
