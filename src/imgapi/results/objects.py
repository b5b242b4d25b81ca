"""Files by name in one local folder or under one prefix of a bucket."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from imgapi.errors import CapabilityMissing

_LISTED_AT_ONCE = 1000
# What obstore writes beside a file of a folder before it gives the file its name; its own lists leave these out.
_STAGED = re.compile(r"(?P<name>.+)#[0-9]+", re.ASCII)
# The parts of a foreign message that say what happened, and hold no path, key or host.
_TELLING = re.compile(r"<Code>(\w{1,60})</Code>|(os error [0-9]+)|status code: ([0-9]{3})|kind: (\w{1,60})|(redirect)")
# Answers that another try won't change; a redirect means that the bucket is in another region.
_REFUSED = re.compile(r"status code: 4(?!08|29)|redirect")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a list."""

    name: str
    size_bytes: int


class Objects:
    """One folder or one prefix of a bucket, through obstore; a file is there whole or not at all.

    Blocking: called in threads. What fails becomes a `CapabilityMissing` whose message names no path, key or host.

    Args:
        place: A folder, created at first use, or a bucket with its prefix.
    """

    def __init__(self, place: Path | S3Store) -> None:
        self._place = place

    @property
    def folder(self) -> Path | None:
        """The local folder; None for a bucket."""
        return self._place if isinstance(self._place, Path) else None

    def put(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            CapabilityMissing: The folder is full or can't be written, or the bucket can't be reached or refuses.
        """
        with self._translated("The picture could not be kept"):
            # In one request: parts of a broken upload would stay in the bucket, unseen and paid for.
            obstore.put(self._store, name, content, use_multipart=False)

    def get(self, name: str) -> bytes | None:
        """Read a file; None when there is none of this name.

        Raises:
            CapabilityMissing: The folder can't be read, or the bucket can't be reached or refuses.
        """
        with self._translated("The picture could not be read"):
            try:
                return obstore.get(self._store, name).bytes().to_bytes()
            except FileNotFoundError as exc:
                if _is_bucket_missing(exc):
                    raise
                return None

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; those that aren't there are no error.

        Raises:
            CapabilityMissing: The folder can't be changed, or the bucket can't be reached or refuses.
        """
        with self._translated("The picture could not be deleted"):
            # A bucket says nothing of files that aren't there, so it can be asked for several at once.
            for each in [list(names)] if self.folder is None else names:
                try:
                    obstore.delete(self._store, each)
                except FileNotFoundError as exc:
                    if _is_bucket_missing(exc):
                        raise

    def list(self) -> Iterator[Entry]:
        """Yield every file: of a bucket in the order of names and no sooner than asked for, of a folder in any order.

        Raises:
            CapabilityMissing: The folder can't be read, or the bucket can't be reached or refuses.
        """
        with self._translated("The kept pictures could not be listed"):
            for chunk in obstore.list(self._store, chunk_size=_LISTED_AT_ONCE):
                for entry in chunk:
                    yield Entry(entry["path"], entry["size"])

    def list_staged(self) -> Iterator[tuple[str, Path]]:
        """Yield the beginnings of files that were not finished, perhaps because their process was killed.

        Yields:
            The name the file was to have, and where its beginning is; only of a folder.

        Raises:
            CapabilityMissing: The folder can't be read.
        """
        with self._translated("The kept pictures could not be listed"):
            for path in self.folder.iterdir() if self.folder is not None and self.folder.exists() else ():
                if found := _STAGED.fullmatch(path.name):
                    yield found["name"], path

    @cached_property
    def _store(self) -> LocalStore | S3Store:
        return LocalStore(self._place, mkdir=True) if isinstance(self._place, Path) else self._place

    @contextmanager
    def _translated(self, complaint: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as exc:
            reason = _FOLDER_REASON if self.folder is not None else _bucket_reason(exc)
            detail = f"{type(exc).__name__}: {_what_happened(exc)}"
            raise CapabilityMissing(f"{complaint}: {reason}.", detail=detail) from exc


_FOLDER_REASON = "the server's result folder is full or can't be written"


def _bucket_reason(exc: Exception) -> str:
    if isinstance(exc, FileNotFoundError) or _REFUSED.search(str(exc)):
        return "the server's object store refuses it or is not there; its operator has to mend that"
    return "the server's object store can't be reached; try again later"


def _is_bucket_missing(exc: FileNotFoundError) -> bool:
    """A bucket that isn't there is told by the same exception as a file that isn't."""
    return "NoSuchBucket" in str(exc)


def _what_happened(exc: Exception) -> str:
    told = (next(filter(None, found.groups())) for found in _TELLING.finditer(str(exc)))
    return ", ".join(dict.fromkeys(told))
