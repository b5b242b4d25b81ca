"""The settings: the only reader of the environment, read once by `app` or `cli`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from imgapi.matting.models import CLASSICAL, choose

MEGABYTE = 1024 * 1024
REGION_HOSTS = {
    "cn-beijing": "dashscope.aliyuncs.com",
    "ap-southeast-1": "dashscope-intl.aliyuncs.com",
    "us-east-1": "dashscope-us.aliyuncs.com",
    "cn-hongkong": "cn-hongkong.dashscope.aliyuncs.com",
}


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def _read_limits(value: object) -> object:
    """Read `model=submits a second/running tasks`, separated by commas."""
    if not isinstance(value, str):
        return value
    limits = {}
    for part in filter(None, (each.strip() for each in value.split(","))):
        model, _, numbers = part.partition("=")
        rate, _, running = numbers.partition("/")
        try:
            limits[model.strip()] = (float(rate), int(running))
        except ValueError:
            message = f"{part!r} is not of the form model=submits a second/running tasks"
            raise ValueError(message) from None
    return limits


Limits = Annotated[
    Mapping[str, tuple[Annotated[float, Field(gt=0)], Annotated[int, Field(ge=1)]]],
    NoDecode,
    BeforeValidator(_read_limits),
]
Ports = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_split)]


class SettingsInvalidError(Exception):
    """A setting has a wrong value; the message names it in one sentence."""


class Settings(BaseSettings):
    """Everything an operator can set, by environment variables `IMGAPI_…` and the two `DASHSCOPE_…` ones."""

    model_config = SettingsConfigDict(
        env_prefix="IMGAPI_", frozen=True, extra="ignore", env_ignore_empty=True, allow_inf_nan=False
    )

    dashscope_api_key: Annotated[
        SecretStr | None,
        Field(
            validation_alias="DASHSCOPE_API_KEY",
            description="With it, edits run at DashScope.",
        ),
    ] = None
    dashscope_base_url: Annotated[
        str | None,
        Field(
            validation_alias="DASHSCOPE_BASE_URL",
            pattern=r"^https?://[^\s?#@]+$",
            description="DashScope's address up to `/api/v1`; the region's shared host when unset.",
        ),
    ] = None
    dashscope_region: Annotated[
        Literal["cn-beijing", "ap-southeast-1", "us-east-1", "cn-hongkong"],
        Field(description="Whose shared host is used; the key must belong to it."),
    ] = "cn-beijing"
    dashscope_workspace: Annotated[str | None, Field(description="Workspace id, for keys of sub-accounts.")] = None
    queries_per_second: Annotated[
        float, Field(gt=0, le=20, description="Task queries this process may send; DashScope allows 20 per account.")
    ] = 17.0
    model_limits: Annotated[
        Limits,
        Field(
            default_factory=dict,
            description=(
                "What the account may ask of models, where it differs: `wanx2.1-imageedit=2/2` is two submits a second "
                "and two running tasks; several are separated by commas."
            ),
        ),
    ]
    pending_seconds: Annotated[
        float, Field(gt=0, description="How long a task may wait upstream before it is canceled there.")
    ] = 600.0
    task_seconds: Annotated[
        float, Field(gt=0, description="How long an accepted task is followed; the upstream ends each within 3 hours.")
    ] = 10_900.0
    max_tasks: Annotated[int, Field(ge=1, description="Edits under way at once, waiting ones included.")] = 2000
    max_wait: Annotated[
        float, Field(ge=0, description="How long a caller is held, seconds; the task goes on without its caller.")
    ] = 300.0
    max_queue_seconds: Annotated[
        float, Field(ge=0, description="A new task that would wait longer for its place is refused with 429.")
    ] = 3600.0
    tasks_ttl: Annotated[float, Field(gt=0, description="How long a task is kept after its end, seconds.")] = (
        7 * 86400.0
    )
    database_url: Annotated[
        SecretStr | None,
        Field(
            description=(
                "Where tasks are kept: `postgresql://user@host/name`, which several processes may share; a SQLite file "
                "in the data folder when unset."
            ),
        ),
    ] = None
    secret: Annotated[
        SecretStr | None,
        Field(
            min_length=16,
            description=(
                "Seals what the tasks database keeps of requests and links; the same for all processes that share it. "
                "Made once in the data folder when unset, and required with PostgreSQL."
            ),
        ),
    ] = None
    webhook_url: Annotated[
        str | None, Field(description="Told the end of every task whose request names no other webhook.")
    ] = None
    webhook_secret: Annotated[
        SecretStr | None,
        Field(
            description="Signs webhooks: `whsec_` and base64; see `imgapi webhooks secret` for the one used when unset."
        ),
    ] = None
    retired_seconds: Annotated[
        float, Field(ge=0, description="How long a model refused as retired is passed over.")
    ] = 3600.0

    change_bg_models: Annotated[Names, Field(description="Upstream models of /change_bg, in order.")] = (
        "wanx-background-generation-v2",
        "wan2.7-image",
        "qwen-image-2.0",
    )
    change_cloth_models: Annotated[Names, Field(description="Upstream models of /change_cloth, in order.")] = (
        "aitryon-plus",
        "aitryon",
        "wan2.7-image",
        "qwen-image-2.0",
    )
    expand_models: Annotated[Names, Field(description="Upstream models of /expand, in order.")] = (
        "wanx2.1-imageedit",
        "wan2.7-image",
        "qwen-image-2.0",
    )
    fix_models: Annotated[Names, Field(description="Upstream models of /fix, in order.")] = (
        "wanx2.1-imageedit",
        "wan2.7-image",
        "qwen-image-2.0",
    )
    remove_watermark_models: Annotated[Names, Field(description="Upstream models of /remove_watermark, in order.")] = (
        "wanx2.1-imageedit",
        "wan2.7-image",
        "qwen-image-2.0",
    )

    host: Annotated[str, Field(min_length=1, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535, description="Port to listen on.")] = 5000
    public_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^\s?#@]+$",
            description="Where callers reach this service, for its own links; `http://127.0.0.1:PORT` when unset.",
        ),
    ] = None
    data_dir: Annotated[Path, Field(description="Where results and converted files are kept.")] = Path("var")
    results: Annotated[
        str | None,
        Field(
            description=(
                "Where results are copied to: a folder, or `s3://bucket/prefix` with the usual AWS_ variables. Unset: "
                "only those of /remove_bg are kept, in the data folder, and the upstream's links are passed on."
            )
        ),
    ] = None
    results_ttl: Annotated[float, Field(gt=0, description="How long results are kept, seconds.")] = 7 * 86400.0
    results_max_bytes: Annotated[int, Field(gt=0, description="How much the kept results may take together.")] = (
        2048 * MEGABYTE
    )
    files_seconds: Annotated[float, Field(gt=0, description="How long files sent to /files are kept.")] = 86400.0
    files_max_bytes: Annotated[int, Field(gt=0, description="How much the files sent to /files may take together.")] = (
        1024 * MEGABYTE
    )
    files_max_count: Annotated[int, Field(gt=0, description="How many files sent to /files are kept.")] = 20_000
    outputs_seconds: Annotated[float, Field(gt=0, description="How long converted files are kept.")] = 7 * 86400.0
    outputs_max_bytes: Annotated[int, Field(gt=0, description="How much the converted files may take together.")] = (
        2048 * MEGABYTE
    )

    prepare: Annotated[
        Literal["on", "off"],
        Field(description="`off` refuses inputs that a model would not take, instead of making them fit."),
    ] = "on"
    allow_private_sources: Annotated[
        bool, Field(description="Fetch URLs at private addresses and any port. For development only.")
    ] = False
    source_ports: Annotated[Ports, Field(description="Ports that callers' URLs may name.")] = (80, 443)
    source_seconds: Annotated[
        float, Field(gt=0, description="How long fetching one URL may take, redirects included.")
    ] = 12.0
    max_picture_bytes: Annotated[int, Field(gt=0, description="Largest picture, as sent.")] = 20 * MEGABYTE
    max_pixels: Annotated[int, Field(gt=0, description="Most pixels of one frame.")] = 50_000_000
    max_total_pixels: Annotated[int, Field(gt=0, description="Most pixels of all frames together.")] = 100_000_000
    max_side: Annotated[int, Field(gt=0, le=65_500, description="Longest side, px.")] = 16_384
    max_frames: Annotated[int, Field(gt=0, description="Most frames of an animation or pages of a TIFF.")] = 500
    max_svg_bytes: Annotated[int, Field(gt=0, description="Largest SVG.")] = 5 * MEGABYTE
    max_svg_pixels: Annotated[int, Field(gt=0, description="Most pixels an SVG is rendered to.")] = 16_000_000
    svg_renderer: Annotated[
        Literal["resvg", "cairosvg"], Field(description="What renders SVG; CairoSVG needs libcairo.")
    ] = "resvg"

    matting: Annotated[
        str,
        Field(
            description="What cuts subjects out: `classical`, or `onnx:` with a model's name or the path of its file."
        ),
    ] = CLASSICAL
    matting_threads: Annotated[
        int | None,
        Field(ge=1, le=64, description="Threads a matting model computes with; one per core, at most 4, when unset."),
    ] = None
    matting_seconds: Annotated[
        float, Field(gt=0, description="How long a matting model may take for one picture before its process is ended.")
    ] = 120.0
    models_dir: Annotated[
        Path | None, Field(description="Where matting models are kept; `models` in the data folder when unset.")
    ] = None
    models_offline: Annotated[bool, Field(description="Never download a matting model; its file has to be there.")] = (
        False
    )

    workers: Annotated[
        int, Field(ge=1, le=64, description="Processes that do pixel work; one per core when unset.")
    ] = max(1, min(8, os.cpu_count() or 1))
    workers_waiting: Annotated[int, Field(ge=0, description="Pixel jobs that may wait for a process.")] = 60
    worker_seconds: Annotated[
        float, Field(gt=0, description="How long one pixel job may take before its process is ended.")
    ] = 60.0
    svg_seconds: Annotated[
        float,
        Field(gt=0, description="Likewise for one SVG, whose size tells nothing of its cost."),
    ] = 10.0
    max_json_bytes: Annotated[
        int, Field(ge=1024, description="Largest JSON body; the data URLs in it are counted as pictures instead.")
    ] = MEGABYTE
    max_form_fields: Annotated[int, Field(ge=1, description="Text fields that a form may have.")] = 10
    max_field_bytes: Annotated[int, Field(ge=1024, description="Largest text field of a form.")] = 64 * 1024
    bodies_max_bytes: Annotated[
        int, Field(ge=MEGABYTE, description="How much the bodies in flight may take together.")
    ] = 256 * MEGABYTE
    body_seconds: Annotated[float, Field(gt=0, description="How long a request's body may take to arrive.")] = 60.0
    shutdown_seconds: Annotated[
        float, Field(ge=0, description="How long a submit under way may take after a stop was asked for.")
    ] = 20.0
    preview_pace: Annotated[
        Literal["at-once", "realistic"],
        Field(
            description="Without a key: whether previews come as soon as they are painted, or as slowly as the models."
        ),
    ] = "at-once"
    api_keys_file: Annotated[
        Path | None,
        Field(description="TOML file of the keys that callers must send; made with `imgapi keys new`. Unset: no key."),
    ] = None
    docs: Annotated[Literal["on", "off"], Field(description="Whether /docs, /redoc and /openapi.json are served.")] = (
        "on"
    )
    log_format: Annotated[
        Literal["json", "console"], Field(description="One JSON object or one readable line per event.")
    ] = "json"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="Least severe events written.")
    ] = "info"

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value

    @field_validator("dashscope_api_key", "dashscope_workspace", mode="before")
    @classmethod
    def _refuse_what_no_header_carries(cls, value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str):
            return value
        text = text.strip()
        if not all("!" <= character <= "~" for character in text):
            message = "only printable ASCII without spaces can be sent"
            raise ValueError(message)
        return text or None

    @field_validator("database_url")
    @classmethod
    def _refuse_unknown_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "sqlite:///")):
            message = "it must start with postgresql:// or sqlite:///"
            raise ValueError(message)
        return value

    @field_validator("matting")
    @classmethod
    def _refuse_unknown_matting(cls, value: str) -> str:
        choose(value)
        return value

    @property
    def base_url(self) -> str:
        """DashScope's address, ending in `/api/v1`."""
        return self.dashscope_base_url or f"https://{REGION_HOSTS[self.dashscope_region]}/api/v1"

    @property
    def own_url(self) -> str:
        """The address of this service as its callers write it, without a trailing slash."""
        return (self.public_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def models_folder(self) -> Path:
        """Where matting models are kept."""
        return self.models_dir or self.data_dir / "models"

    @property
    def tasks_url(self) -> str:
        """Where tasks are kept, as SQLAlchemy writes it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir.absolute() / 'tasks.sqlite3'}"

    def models_of(self, operation: str) -> tuple[str, ...]:
        """The upstream models chosen for an edit, in order."""
        names: tuple[str, ...] = getattr(self, f"{operation}_models")
        return names


def environment_name(field: str) -> str:
    """The environment variable that sets a field."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"IMGAPI_{field.upper()}"


def read_settings(**overrides: Any) -> Settings:
    """Read the environment once.

    Raises:
        SettingsInvalidError: A value is wrong; the sentence names the variable and never shows a secret.
    """
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        variable = environment_name(name) if name in Settings.model_fields else name
        reason = first["msg"].removeprefix("Value error, ")
        message = f"{variable} has a wrong value: {reason[0].lower()}{reason[1:]}."
        raise SettingsInvalidError(message) from None
