"""Where a list of tasks goes on."""

import base64
import binascii
import json
import math
import uuid

from imgapi.errors import InvalidParameter
from imgapi.tasks.record import TaskRecord

_NO_CURSOR = "is none that a list of tasks gave; take `next_cursor` as it was"


def write_cursor(record: TaskRecord) -> str:
    """Write the place behind a task in a list of the newest first."""
    return base64.urlsafe_b64encode(json.dumps([record.created_at, record.id]).encode()).decode()


def read_cursor(cursor: str) -> tuple[float, str]:
    """Read such a place: when the task was accepted, and its id; InvalidParameter when it is none."""
    try:
        at, task_id = json.loads(base64.urlsafe_b64decode(cursor))
        read = float(at), str(uuid.UUID(str(task_id)))
    except (binascii.Error, ValueError, TypeError) as exc:
        raise InvalidParameter(_NO_CURSOR, field="cursor") from exc
    if not math.isfinite(read[0]):
        raise InvalidParameter(_NO_CURSOR, field="cursor")
    return read
