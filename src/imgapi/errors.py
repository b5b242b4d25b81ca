"""Every failure imgapi can name; knows nothing of HTTP.

ImgapiError
├── CallerError            what the caller sent can't be used; the caller can change that
│   ├── InvalidParameter   a field is missing, unknown, of the wrong type or out of range
│   ├── UnreadableImage    the bytes are not a picture that can be decoded
│   ├── UnsupportedFormat  the bytes are of a format that this operation does not take
│   ├── ImageTooLarge      bytes, pixels, frames or a side beyond a limit
│   ├── SourceRefused      the URL is one that imgapi never fetches
│   ├── SourceUnreachable  the URL could not be downloaded
│   ├── PictureUnsuitable  the picture can be read, and the edit can't work with what it shows
│   ├── SubjectNotFound    no subject stands out from the picture, or nothing but the subject is there
│   ├── ContentRefused     the upstream's content inspection said no
│   ├── TaskNotFound       no such task
│   ├── TaskNotCancellable the task has gone too far to be canceled
│   ├── ResultExpired      the result was there and is gone
│   ├── IdempotencyConflict  one key, two bodies
│   ├── QueueTooLong       a new task would wait longer than this server lets one wait
│   └── QuotaExceeded      the caller's key has no requests or pictures left for now
├── UpstreamError          the upstream did not do its part
│   ├── UpstreamThrottled  it asked us to slow down until our patience ended
│   ├── UpstreamUnavailable  it could not be reached, or failed without having accepted
│   ├── UpstreamMisconfigured  key, quota or account: the operator's to mend
│   ├── EditFailed         the task ended FAILED or CANCELED, or without a usable result
│   ├── TaskLost           accepted perhaps, but it can no longer be followed
│   └── StillRunning       the caller was held long enough; the task goes on
├── Overloaded             this server's waiting line is full
├── LedgerUnavailable      tasks can't be written down or looked up for now
└── CapabilityMissing      this installation lacks something; the message says how to get it
"""

from typing import ClassVar, Self


class Waitable:
    """What a failure is as well when another try is sensible after a while.

    Attributes:
        retry_after: Seconds until then.
    """

    retry_after: float


class ImgapiError(Exception):
    """A failure with one sentence that a caller may read.

    Args:
        message: One sentence for the caller; never a key, a path of this machine or an internal host.
        field: The public field the failure is about, when one is known.
        detail: Words for the log only.
        task_id: The task the failure ended, when there is one.
        upstream_task_id: The upstream's id of that task, once known.

    Attributes:
        billed: Whether the upstream charges for the task all the same, where the failure is that of a task.
        usage: What the task made and its list price, as public fields.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        detail: str | None = None,
        task_id: str | None = None,
        upstream_task_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.detail = detail
        self.task_id = task_id
        self.upstream_task_id = upstream_task_id
        self.billed: bool | str | None = None
        self.usage: dict[str, float] | None = None

    def about(self, _field: str) -> Self:
        """Name the public field this failure is about; only a `CallerError` is about one."""
        return self

    @property
    def sentence(self) -> str:
        """The message, led by the field's name where there is one and the message does not start with it."""
        if self.field is None or self.message.startswith(self.field):
            return self.message
        return f"{self.field}: {self.message}"


class CallerError(ImgapiError):
    """What the caller sent can't be used; the caller can change that."""

    code = "invalid_request"

    def about(self, field: str) -> Self:
        """Name the public field this failure is about, unless a deeper floor already has."""
        self.field = self.field or field
        return self


class InvalidParameter(CallerError):
    """A field is missing, unknown, of the wrong type or out of range."""

    code = "invalid_parameter"


class UnreadableImage(CallerError):
    """The bytes are not a picture that can be decoded: empty, truncated, mislabelled or no picture at all."""

    code = "unreadable_image"


class UnsupportedFormat(CallerError):
    """The bytes are a picture of a format that the operation does not take."""

    code = "unsupported_format"


class ImageTooLarge(CallerError):
    """Bytes, pixels, frames or a side beyond a limit; the message names the limit and the actual value."""

    code = "image_too_large"


class SourceRefused(CallerError):
    """The URL is one that imgapi never fetches: wrong scheme, port, user-info or an address that is not public."""

    code = "source_refused"


class SourceUnreachable(CallerError):
    """The URL could not be downloaded: no such name, no answer, or an answer other than 200."""

    code = "source_unreachable"


class PictureUnsuitable(CallerError):
    """The picture can be read, and the edit can't work with what it shows: no person, no mark, a size out of range."""

    code = "picture_unsuitable"


class SubjectNotFound(CallerError):
    """No subject stands out from the picture, or nothing but the subject is there."""

    code = "subject_not_found"


class ContentRefused(CallerError):
    """The upstream's content inspection said no to a picture or a text."""

    code = "content_refused"


class TaskNotFound(CallerError):
    """No task of that id is known here."""

    code = "task_not_found"


class TaskNotCancellable(CallerError):
    """The task has gone too far to be canceled."""

    code = "task_not_cancellable"


class ResultExpired(CallerError):
    """The result was there and is gone."""

    code = "result_expired"


class IdempotencyConflict(CallerError):
    """One idempotency key came with two different bodies."""

    code = "idempotency_conflict"


class QueueTooLong(CallerError, Waitable):
    """So many tasks wait that a new one would wait longer than this server lets one wait; nothing was started.

    Args:
        message: One sentence for the caller.
        retry_after: Seconds until the line is short enough, as far as can be foreseen.
    """

    code = "queue_too_long"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExceeded(CallerError, Waitable):
    """The caller's key has no requests or pictures left for now.

    Args:
        message: One sentence for the caller.
        retry_after: Seconds until there are some again.
    """

    code = "quota_exceeded"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamError(ImgapiError):
    """The upstream did not do its part."""

    code = "upstream_error"


class UpstreamThrottled(UpstreamError, Waitable):
    """The upstream asked for fewer requests until our patience ended; nothing was accepted, nothing is paid.

    Args:
        message: One sentence for the caller.
        retry_after: Seconds after which another try is sensible.
        detail: Words for the log only.
    """

    code = "upstream_throttled"

    def __init__(self, message: str, *, retry_after: float = 5.0, detail: str | None = None) -> None:
        super().__init__(message, detail=detail)
        self.retry_after = retry_after


class UpstreamUnavailable(UpstreamError):
    """The upstream could not be reached, or failed with nothing accepted."""

    code = "upstream_unavailable"


class UpstreamMisconfigured(UpstreamError):
    """Key, quota, account or model: the operator's to mend, so the details are in the log only."""

    code = "upstream_misconfigured"


class EditFailed(UpstreamError):
    """The task ended FAILED or CANCELED upstream, or without one usable result."""

    code = "edit_failed"


class TaskLost(UpstreamError):
    """The upstream may have accepted the task, but it can no longer be followed; it is never submitted again."""

    code = "task_lost"


class StillRunning(UpstreamError):
    """The caller was held as long as the deadline allows; the upstream may still be at work."""

    code = "still_running"


class Overloaded(ImgapiError, Waitable):
    """This server's waiting line is full.

    Args:
        message: One sentence for the caller.
        retry_after: Seconds after which another try is sensible.
    """

    code = "overloaded"

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @classmethod
    def by_a_stop(cls) -> Self:
        """Say that the server goes down."""
        return cls("the server is shutting down; try again in a moment", retry_after=5.0)


class LedgerUnavailable(ImgapiError, Waitable):
    """Tasks can't be written down or looked up for now: the disk is full, or the tasks database is away.

    Args:
        message: One sentence for the caller.
        retry_after: Seconds after which another try is sensible.
        detail: Words for the log only.
    """

    code = "tasks_unavailable"

    def __init__(self, message: str, *, retry_after: float, detail: str | None = None) -> None:
        super().__init__(message, detail=detail)
        self.retry_after = retry_after


class CapabilityMissing(ImgapiError):
    """This installation lacks something; the message says how to get it."""

    code = "capability_missing"
