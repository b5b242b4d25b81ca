"""The commands `imgapi edit …`: one for each of the nine operations, its options read off the public request model."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic.fields import FieldInfo
from rich.markup import escape

from imgapi.commands.operations import OPERATIONS, Operation, is_picture

HELP = (
    "Edit pictures: files, folders, patterns or URLs in, files out. Runs in this process, or at a running server; what "
    "is there already is left alone, so the same command goes on where it was stopped."
)
_PICTURES_HELP = "Files, folders, patterns such as '*.jpg', URLs, or - for standard input."


@dataclass(frozen=True, slots=True)
class Given:
    """What a command line says, apart from the fields of the request.

    Args:
        pictures: Files, folders, patterns, URLs, or `-`.
        output: A file, a folder, or `-`.
        server: The URL of a running server; this process works itself when None.
        key_file: A file with the key that the server asks for.
        jobs: How many pictures are worked on at once.
        recursive: Whether folders are searched to the bottom.
        overwrite: Whether results replace files that are there.
        anew: Whether edits that were run before are run, and paid for, again.
        as_json: Whether outcomes are told as lines of JSON.
    """

    pictures: list[str]
    output: str | None
    server: str | None
    key_file: Path | None
    jobs: int
    recursive: bool
    overwrite: bool
    anew: bool
    as_json: bool


_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "pictures": (Annotated[list[str], typer.Argument(metavar="PICTURE...", help=_PICTURES_HELP)], ...),
    "output": (
        Annotated[
            str | None,
            typer.Option(
                "--output",
                "-o",
                metavar="FILE|FOLDER",
                help="Where results go: a file for one picture, a folder for several, - for standard output; this "
                "folder when not given.",
                show_default=False,
            ),
        ],
        None,
    ),
    "server": (
        Annotated[
            str | None, typer.Option(metavar="URL", help="A running imgapi to use; this process works when not given.")
        ],
        None,
    ),
    "key_file": (
        Annotated[Path | None, typer.Option(metavar="FILE", help="A file with the key that the server asks for.")],
        None,
    ),
    "jobs": (Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="How many are worked on at once.")], 4),
    "recursive": (Annotated[bool, typer.Option("--recursive", "-r", help="Search folders to the bottom.")], False),
    "overwrite": (Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")], False),
    "anew": (
        Annotated[
            bool,
            typer.Option("--anew", help="Have edits made, and paid for, again that were made in the last 24 hours."),
        ],
        False,
    ),
    "as_json": (Annotated[bool, typer.Option("--json", help="Write a line of JSON for each picture.")], False),
}


def edit_commands() -> typer.Typer:
    """Make the commands, one for each operation."""
    commands = typer.Typer(help=HELP, no_args_is_help=True)
    for operation in OPERATIONS.values():
        commands.command(operation.command, help=operation.summary)(_make_command(operation))
    return commands


def _make_command(operation: Operation) -> Callable[..., None]:
    given_names = [each.name for each in dataclass_fields(Given)]

    def command(**values: Any) -> None:
        from imgapi.commands.runs import run

        given = Given(**{name: values.pop(name, False) for name in given_names})
        raise typer.Exit(run(operation, _read_fields(operation, values), given))

    parameters = [_parameter(name, field) for name, field in operation.fields.items() if name not in _OPTIONS]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=_default(default))
        for name, (annotation, default) in _OPTIONS.items()
        # What is not paid for is simply made again.
        if name != "anew" or operation.is_edit
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _default(value: Any) -> Any:
    return inspect.Parameter.empty if value is ... else value


def option_name(field: str) -> str:
    """Spell a public field as an option: `ref_image_url` is `--ref-image`."""
    return f"--{field.removesuffix('_url').replace('_', '-')}"


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """Turn a public field into an option: its type, limits, default and description are the model's."""
    kind = _without_none(field.annotation)
    shown: dict[str, Any] = {"help": escape(field.description or ""), "show_default": False}
    is_required = field.is_required()
    if not is_required and field.default not in {None, "", False}:
        shown["show_default"] = escape(str(field.default))
    default: Any = inspect.Parameter.empty if is_required else None
    annotation: Any = kind if is_required else kind | None
    if is_picture(name):
        shown["metavar"] = "FILE|URL"
    elif kind is bool:
        default, annotation = False, bool
    elif get_origin(kind) is list:
        annotation = list[str] | None
        shown["metavar"] = ",".join(_part_names(kind)).upper()
    else:
        shown["min"] = next((each.ge for each in field.metadata if isinstance(each, Ge)), None)
        shown["max"] = next((each.le for each in field.metadata if isinstance(each, Le)), None)
    option = typer.Option(option_name(name), **shown)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[annotation, option], default=default
    )


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, UnionType}:
        (annotation,) = (each for each in get_args(annotation) if each is not type(None))
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _part_names(kind: Any) -> tuple[str, ...]:
    """Name the numbers of which each entry of a list is made."""
    return tuple(get_args(kind)[0].model_fields)


def _read_fields(operation: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
    """Take what the caller said; what was not said is the service's to choose."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or value is False:
            continue
        kind = _without_none(operation.fields[name].annotation)
        fields[name] = (
            [_numbers(name, each, len(_part_names(kind))) for each in value] if get_origin(kind) is list else value
        )
    return fields


def _numbers(name: str, text: str, count: int) -> list[int]:
    parts = text.split(",")
    if len(parts) != count or not all(part.strip().isdecimal() for part in parts):
        message = f"{text} is not {count} whole numbers with commas between them."
        raise typer.BadParameter(message, param_hint=option_name(name))
    return [int(part) for part in parts]
