"""The pictures that a request itself carries: kept as files as long as its task needs them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imgapi.contract.fields import Request
from imgapi.errors import ImgapiError
from imgapi.results.store import ResultStore
from imgapi.sources.data_url import decode_data_url, is_data_url


@dataclass(frozen=True, slots=True)
class InputStore:
    """Takes the data URLs out of requests, so that what is recorded of a task is small.

    Args:
        store: Keeps the pictures.
        link: Turns a name into the URL under which this service's fetcher finds the file; callers can't.
        max_bytes: Largest picture.
    """

    store: ResultStore
    link: Callable[[str], str]
    max_bytes: int

    async def take_out(self, request: Request) -> tuple[Request, Sequence[str]]:
        """Return the request with links in place of its data URLs, and the names of the files.

        Raises:
            CallerError: A data URL can't be read; the error names the field.
            CapabilityMissing: A file can't be kept.
        """
        carried = {
            name: value
            for name in type(request).model_fields
            if name.endswith("_url") and isinstance(value := getattr(request, name), str) and is_data_url(value)
        }
        names: list[str] = []
        links: dict[str, str] = {}
        try:
            for field, value in carried.items():
                try:
                    content = await asyncio.to_thread(decode_data_url, value, max_bytes=self.max_bytes)
                except ImgapiError as exc:
                    raise exc.about(field) from exc.__cause__
                name = await self.store.put(content, ".bin")
                names.append(name)
                links[field] = self.link(name)
        except BaseException:
            await self.forget(names)
            raise
        return (request.model_copy(update=links) if links else request), names

    async def forget(self, names: Sequence[str]) -> None:
        """Delete files."""
        for name in names:
            await self.store.delete(name)
