"""The command `imgapi mcp`."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from imgapi.commands.outcomes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_SETTINGS, EXIT_USAGE

DEFAULT_PORT = 5002
_MISSING = "The MCP server needs one more package: pip install 'imgapi[mcp]'."


@dataclass(frozen=True, slots=True)
class Served:
    """What the tools stand on.

    Args:
        server: The URL of a running server; the service runs in this process when None.
        key: What that server asks for.
        data_dir: Where a service in this process keeps everything; goes with the process.
        roots: The folders below which an agent on this machine may name pictures.
        output: The folder that pictures are written to; one of our own when None.
    """

    server: str | None
    key: str | None
    data_dir: Path
    roots: Sequence[Path]
    output: Path | None


def mcp(
    *,
    http: Annotated[
        bool, typer.Option("--http", help="Serve streamable HTTP instead of one agent over stdio.")
    ] = False,
    host: Annotated[str, typer.Option(help="With --http: the address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="With --http: the port to listen on.")] = DEFAULT_PORT,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="A running imgapi to use; this process works when not given.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the key that the server asks for.")
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Without --http: a folder below which the agent may name pictures; the current one when not given.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Without --http: where pictures are written; a folder of imgapi's own."),
    ] = None,
) -> None:
    """Offer the nine operations to agents, as tools of the Model Context Protocol."""
    try:
        from imgapi.commands import mcp_serving
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in {"mcp", "mcp_types"}:
            raise
        raise _end(_MISSING, EXIT_FAILED) from exc
    from imgapi.commands.places import temporary_data
    from imgapi.commands.runs import read_key, require_url
    from imgapi.commands.sources import UsageError
    from imgapi.settings import SettingsInvalidError, read_settings

    try:
        settings = read_settings()
        require_url(server)
        with temporary_data() as data_dir:
            key = read_key(key_file)
            served = Served(server, key, data_dir, _roots(root), None if output is None else output.resolve())
            serving = (
                mcp_serving.serve_http(served, settings, host, port)
                if http
                else mcp_serving.serve_stdio(served, settings)
            )
            raise typer.Exit(asyncio.run(serving))
    except UsageError as exc:
        raise _end(str(exc), EXIT_USAGE) from exc
    except SettingsInvalidError as exc:
        raise _end(str(exc), EXIT_SETTINGS) from exc
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _end(sentence: str, code: int) -> typer.Exit:
    sys.stderr.write(f"imgapi: {sentence}\n")
    return typer.Exit(code)


def _roots(given: list[Path] | None) -> list[Path]:
    """Find the folders that may be read: never the whole machine because a program was started there."""
    here = Path.cwd()
    if given is None:
        return [] if here == Path(here.anchor) else [here.resolve()]
    return [root.resolve() for root in given]
