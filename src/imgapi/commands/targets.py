"""The files that a command writes: how they are named, found again, and put in place whole."""

import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imgapi.api.files import SUFFIXES
from imgapi.commands.sources import STANDARD, Source, UsageError
from imgapi.pictures.signatures import sniff_format
from imgapi.results.files import write_temporary

_SUFFIXES = (*SUFFIXES.values(), ".jpeg", ".tif")


class UnwritableTarget(Exception):
    """A result could not be written; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the pictures made of one source go.

    Args:
        folder: In which folder.
        base: The file's name without its ending.
        suffix: Its ending where the caller named the file, perhaps empty; that of the picture when None.
        is_standard: Whether it is written to standard output instead.
    """

    folder: Path
    base: str
    suffix: str | None = None
    is_standard: bool = False

    def find_made(self) -> list[Path]:
        """List the files of an earlier run; none unless all were written, as the first is written last."""
        if self.is_standard:
            return []
        suffixes = _SUFFIXES if self.suffix is None else (self.suffix,)
        firsts = (f"{self.base}{number}{suffix}" for number in ("", *_first_numbers()) for suffix in suffixes)
        if not any((self.folder / name).exists() for name in firsts):
            return []
        name = re.compile(rf"{re.escape(self.base)}(?:-\d+)?(?:{'|'.join(map(re.escape, suffixes))})")
        return sorted(each for each in self.folder.iterdir() if name.fullmatch(each.name))

    def misleads(self, picture: bytes) -> bool:
        """Whether the ending that the caller chose is that of another format."""
        ending = (self.suffix or "").lower()
        return ending != "" and {".jpeg": ".jpg", ".tif": ".tiff"}.get(ending, ending) != suffix_of(picture)

    def write(self, pictures: Sequence[bytes], *, overwrite: bool) -> list[Path]:
        """Write the pictures, each whole or not at all; several get numbers.

        Raises:
            UnwritableTarget: A file of that name is there, the folder can't be written, or it is no picture.
        """
        if self.is_standard:
            sys.stdout.buffer.write(pictures[0])
            sys.stdout.buffer.flush()
            return []
        width = len(str(len(pictures)))
        numbers = [""] if len(pictures) == 1 else [f"-{number:0{width}d}" for number in range(1, len(pictures) + 1)]
        suffixes = [suffix_of(picture) if self.suffix is None else self.suffix for picture in pictures]
        paths = [self.folder / f"{self.base}{number}{suffix}" for number, suffix in zip(numbers, suffixes, strict=True)]
        for path, picture in reversed(list(zip(paths, pictures, strict=True))):
            _put(path, picture, overwrite=overwrite)
        return paths


def _first_numbers() -> list[str]:
    # As many digits as the number of frames may have.
    return [f"-{1:0{width}d}" for width in range(1, 5)]


def suffix_of(picture: bytes) -> str:
    """Find the ending that a picture's file should have.

    Raises:
        UnwritableTarget: It is no picture.
    """
    name = sniff_format(picture)
    if name is None:
        raise UnwritableTarget("What was made is no picture.")
    return SUFFIXES[name]


def _put(path: Path, picture: bytes, *, overwrite: bool) -> None:
    temporary: Path | None = None
    try:
        temporary = write_temporary(path.parent, picture, time.time())
        if overwrite:
            temporary.replace(path)
        else:
            _claim(temporary, path, picture)
    except OSError as exc:
        raise UnwritableTarget(f"{path} can't be written: {exc.strerror}.") from exc
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _claim(temporary: Path, path: Path, picture: bytes) -> None:
    """Give a written file its name unless that is taken; a part of the same result may be there from a killed run."""
    try:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:
            # A file system without links: the name is taken first, and filled after that.
            path.open("xb").close()
            temporary.replace(path)
    except FileExistsError as exc:
        if path.stat().st_size != len(picture) or path.read_bytes() != picture:
            raise UnwritableTarget(f"{path} is there already; --overwrite replaces it.") from exc


def plan_targets(sources: Sequence[Source], output: str | None, command: str, *, single: bool) -> list[Target]:
    """Find where each result goes.

    Args:
        sources: What is worked on.
        output: As the command line has it: a file, a folder, `-` for standard output, or nothing.
        command: The operation, with which names end.
        single: Whether the command line names one picture.

    Raises:
        UsageError: Several results can't go where they should.
    """
    if not single:
        if output == STANDARD:
            raise UsageError("Several pictures can't go to standard output; name a folder with --output.")
        folder = Path(output or ".")
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file; several pictures need a folder.")
        return _named(sources, folder, command)
    source = sources[0]
    if output == STANDARD or (output is None and source.is_standard):
        if sys.stdout.isatty():
            raise UsageError("A picture is not written to a terminal; name a file with --output.")
        return [Target(Path(), "", is_standard=True)]
    if output is None or output.endswith(("/", os.sep)) or Path(output).is_dir():
        return _named(sources, Path(output or "."), command)
    path = Path(output)
    return [Target(path.parent, path.stem, path.suffix)]


def output_folder(output: str | None, *, single: bool) -> Path:
    """Name the folder that results go to, whatever they are called."""
    if output is None or output == STANDARD:
        return Path()
    is_folder = not single or output.endswith(("/", os.sep)) or Path(output).is_dir()
    return Path(output) if is_folder else Path(output).parent


def _named(sources: Sequence[Source], folder: Path, command: str) -> list[Target]:
    """Name results after their sources; those of one name get a mark each, the same at every run."""
    plain = [(folder / source.below, f"{source.stem}-{command}") for source in sources]
    seen: dict[tuple[str, str], int] = {}
    for place, base in plain:
        name = (str(place), base.casefold())
        seen[name] = seen.get(name, 0) + 1
    return [
        Target(place, base if seen[str(place), base.casefold()] == 1 else f"{source.stem}-{source.mark}-{command}")
        for (place, base), source in zip(plain, sources, strict=True)
    ]
