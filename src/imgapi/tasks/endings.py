"""Endings without a picture: what is said of them, and whether they may cost."""

from collections.abc import Sequence

from imgapi.dashscope.faults import classify, to_error
from imgapi.dashscope.wire import FailedPicture, TaskOutput, TaskStatus
from imgapi.errors import EditFailed, ImgapiError, TaskLost
from imgapi.tasks.record import Billed, Stage, TaskRecord


def billed_on_failure(record: TaskRecord) -> Billed:
    """Whether the upstream charges for a task that was left at this stage: unknown once a submit may be out."""
    return "unknown" if record.stage in {Stage.SUBMITTING, Stage.SUBMITTED} else "false"


def ending(output: TaskOutput, failures: Sequence[FailedPicture]) -> ImgapiError:
    """Say why a task ended without a picture."""
    if output.status is TaskStatus.UNKNOWN:
        return TaskLost("The upstream no longer knows the task; it was not sent again.", detail="UNKNOWN")
    if output.code:
        return to_error(classify(output.code, output.message or ""))
    if failures:
        return to_error(classify(failures[0].code, failures[0].message))
    return EditFailed("The model ended without a picture; try again.", detail="no usable result")
