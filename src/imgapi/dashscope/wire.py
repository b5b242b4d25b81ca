"""The bodies of DashScope's image APIs, typed both ways.

Requests are exact: what is not set is not sent. Answers are read liberally: unknown fields are ignored and every
field may be absent, since the documented samples disagree (docs/upstream.md#answers).
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

ImageEditFunction = Literal["expand", "super_resolution", "remove_watermark", "description_edit_with_mask"]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BackgroundInput(_Sent):
    """`input` of background generation; the base must be an RGBA PNG."""

    base_image_url: str
    ref_image_url: str | None = None
    ref_prompt: str | None = None


class BackgroundParameters(_Sent):
    """`parameters` of background generation; `v3` is slower and better than `v2`."""

    model_version: Literal["v2", "v3"] = "v3"
    n: int = 1


class TryOnInput(_Sent):
    """`input` of the try-on models."""

    person_image_url: str
    top_garment_url: str | None = None
    bottom_garment_url: str | None = None


class TryOnParameters(_Sent):
    """`parameters` of the try-on models; resolution -1 keeps the person picture's size."""

    resolution: Literal[-1, 1024, 1280] = -1
    restore_face: bool = True


class ImageEditInput(_Sent):
    """`input` of general image editing."""

    function: ImageEditFunction
    prompt: str
    base_image_url: str
    mask_image_url: str | None = None


class ImageEditParameters(_Sent):
    """`parameters` of general image editing; scales are 1.0 to 2.0, the upscale factor 1 to 4."""

    n: int = 1
    top_scale: float | None = None
    bottom_scale: float | None = None
    left_scale: float | None = None
    right_scale: float | None = None
    upscale_factor: int | None = None


class ContentPart(_Sent):
    """One picture or one text of a message."""

    image: str | None = None
    text: str | None = None


class Message(_Sent):
    """The one user message of a conversation model."""

    role: Literal["user"] = "user"
    content: tuple[ContentPart, ...]


class ConversationInput(_Sent):
    """`input` of the successors, which take pictures and an instruction as a message."""

    messages: tuple[Message]


class ConversationParameters(_Sent):
    """`parameters` of the successors; `size` is `2K` or `W*H`."""

    n: int = 1
    size: str | None = None
    watermark: bool = False


class SubmitBody(_Sent):
    """The body of every submit."""

    model: str
    input: BackgroundInput | TryOnInput | ImageEditInput | ConversationInput
    parameters: BackgroundParameters | TryOnParameters | ImageEditParameters | ConversationParameters

    def to_json(self) -> dict[str, Any]:
        """Return what is sent: no field that was not set."""
        return self.model_dump(exclude_none=True)

    @property
    def names_temporary_upload(self) -> bool:
        """Whether any picture is an `oss://` address, which the upstream resolves only when a header asks it to."""
        return any(url.startswith("oss://") for url in _picture_urls(self.to_json()["input"]))


def _picture_urls(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str) and (name == "image" or name.endswith("_url")):
                yield inner
            else:
                yield from _picture_urls(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _picture_urls(inner)


def _text_or_none(value: object) -> object:
    return value if isinstance(value, str) and value else None


def _dict_or_none(value: object) -> object:
    return value if isinstance(value, dict) else None


# A field of the wrong type is read as absent: what matters (status, pictures) is checked where it is used.
Text = Annotated[str | None, BeforeValidator(_text_or_none)]


class TaskStatus(StrEnum):
    """Where a task is; a status we have never seen counts as running (docs/upstream.md#statuses)."""

    PENDING = "PENDING"
    PRE_PROCESSING = "PRE-PROCESSING"
    RUNNING = "RUNNING"
    POST_PROCESSING = "POST-PROCESSING"
    SUSPENDED = "SUSPENDED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_terminal(self) -> bool:
        """Whether the task will never change again."""
        return self in {self.SUCCEEDED, self.FAILED, self.CANCELED, self.UNKNOWN}


def is_known_status(text: str) -> bool:
    """Say whether a status is one of those that are documented."""
    return text in {status.value for status in TaskStatus}


def read_status(text: str | None) -> TaskStatus:
    """Read a status; anything unheard of is still at work."""
    try:
        return TaskStatus(text or "")
    except ValueError:
        return TaskStatus.RUNNING


class _Received(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


def _count_or_none(value: object) -> object:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


Count = Annotated[int | None, BeforeValidator(_count_or_none)]


class Metrics(_Received):
    """`task_metrics`: pictures asked for, made, failed."""

    TOTAL: Count = None
    SUCCEEDED: Count = None
    FAILED: Count = None


class TaskOutput(_Received):
    """`output` of a submit, of a query and of a synchronous answer, for every model."""

    task_id: Text = None
    task_status: Text = None
    submit_time: Text = None
    scheduled_time: Text = None
    end_time: Text = None
    code: Text = None
    message: Text = None
    results: Any = None
    image_url: Any = None
    output_image_url: Any = None
    choices: Any = None
    task_metrics: Annotated[Metrics | None, BeforeValidator(_dict_or_none)] = None

    @property
    def status(self) -> TaskStatus:
        """The task's status as one of a closed set."""
        return read_status(self.task_status)


class Usage(_Received):
    """`usage`: the basis of billing."""

    image_count: Count = None


class Answer(_Received):
    """Any JSON answer: of a submit, a query, a cancel, or a refusal."""

    request_id: Text = None
    code: Text = None
    message: Text = None
    output: Annotated[TaskOutput | None, BeforeValidator(_dict_or_none)] = None
    usage: Annotated[Usage | None, BeforeValidator(_dict_or_none)] = None


class ListedTask(_Received):
    """One row of the task list; times are epoch milliseconds there."""

    task_id: Text = None
    status: Text = None
    model_name: Text = None


class TaskList(_Received):
    """A page of the task list."""

    data: tuple[ListedTask, ...] = ()
    total: Count = None
    total_page: Count = None


class UploadPolicy(_Received):
    """`data` of getPolicy: where and how to post one file. `x_oss_forbid_overwrite` was once seen as a boolean."""

    policy: str
    signature: str
    upload_dir: str
    upload_host: str
    oss_access_key_id: str
    x_oss_object_acl: str = "private"
    x_oss_forbid_overwrite: Annotated[str, BeforeValidator(lambda value: str(value).lower())] = "true"
    max_file_size_mb: float | None = None


class UploadPolicyAnswer(_Received):
    """The answer of getPolicy."""

    data: UploadPolicy


class FailedPicture(BaseModel):
    """One picture of several that was not made."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


def read_pictures(output: TaskOutput) -> tuple[tuple[str, ...], tuple[FailedPicture, ...]]:
    """Find the links of the finished pictures, and the failures of the others, wherever this model puts them.

    `results` as a list or one object, `image_url`, `output_image_url`, and `choices` are all read
    (docs/upstream.md#results); an entry without a usable link counts as failed.
    """
    urls: list[str] = []
    failures: list[FailedPicture] = []
    for entry in _entries(output):
        url = entry.get("url") or entry.get("image")
        if isinstance(url, str) and url.startswith(("http://", "https://")):
            urls.append(url)
        else:
            failures.append(
                FailedPicture(code=str(entry.get("code") or "Unknown"), message=str(entry.get("message") or ""))
            )
    return tuple(urls), tuple(failures)


def _entries(output: TaskOutput) -> Iterator[dict[str, Any]]:
    for value in (output.results, output.image_url, output.output_image_url):
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, str) and entry:
                yield {"url": entry}
            elif isinstance(entry, dict):
                yield entry
    for choice in output.choices if isinstance(output.choices, list) else []:
        message = choice.get("message") if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict) and "image" in part:
                yield part
