"""The JSON documents of task answers, one shape per model (`docs/upstream.md`, where the result is)."""

from datetime import UTC, datetime
from typing import Final

from imgapi.clock import documented_time
from imgapi.emulator.catalogue import Family, Model, Shape
from imgapi.emulator.tasks import Outcome, Status, Task

_ACCOUNT: Final = "1000000000000001"


def describe_task(task: Task, shown_status: str, request_id: str) -> dict[str, object]:
    """Write the answer to a query."""
    output: dict[str, object] = {
        "task_id": task.task_id,
        "task_status": shown_status,
        "submit_time": documented_time(task.submitted),
    }
    if task.scheduled is not None:
        output["scheduled_time"] = documented_time(task.scheduled)
    if task.ended is not None:
        output["end_time"] = documented_time(task.ended)
    document: dict[str, object] = {"request_id": request_id, "output": output}
    shape = task.model.shape
    if shape is Shape.RESULTS and task.status is not Status.CANCELED:
        output["task_metrics"] = _count_items(task)
    if task.status is Status.FAILED and task.outcome.failure is not None:
        output["code"] = task.outcome.failure.code
        output["message"] = task.outcome.failure.message
        if task.model.family is Family.BACKGROUND:
            document["usage"] = {"image_count": 0}
    if task.status is Status.SUCCEEDED:
        output.update(_write_pictures(task.model, task.outcome))
        document["usage"] = _write_usage(task.model, task.outcome)
    return document


def describe_unknown(task_id: str, status: str, request_id: str) -> dict[str, object]:
    """Write the answer to a query about which nothing but a status is told."""
    return {"request_id": request_id, "output": {"task_id": task_id, "task_status": status}}


def describe_synchronous(model: Model, outcome: Outcome, request_id: str) -> dict[str, object]:
    """Write the answer of a synchronous call."""
    return {
        "output": _write_pictures(model, outcome),
        "usage": _write_usage(model, outcome),
        "request_id": request_id,
    }


def describe_row(task: Task, shown_status: str) -> dict[str, object]:
    """Write one row of the list of tasks: times in epoch milliseconds, no results."""
    row: dict[str, object] = {
        "task_id": task.task_id,
        "status": shown_status,
        "model_name": task.model.name,
        "region": "cn-beijing",
        "request_id": task.request_id,
        "api_key_id": "123456",
        "caller_uid": _ACCOUNT,
        "caller_parent_id": _ACCOUNT,
        "gmt_create": _milliseconds(task.submitted),
        "user_api_unique_key": f"apikey:v1:aigc:{task.model.user_key}:{task.model.name}",
    }
    if task.scheduled is not None:
        row["start_time"] = _milliseconds(task.scheduled)
    if task.ended is not None:
        row["end_time"] = _milliseconds(task.ended)
    return row


def _write_pictures(model: Model, outcome: Outcome) -> dict[str, object]:
    if model.shape is Shape.RESULTS:
        return {
            "results": [
                {"url": item.url} if item.url is not None else {"code": item.code, "message": item.message}
                for item in outcome.items
            ]
        }
    urls = [item.url for item in outcome.items if item.url is not None]
    if model.shape is Shape.IMAGE_URL:
        return {"image_url": urls[0]}
    if model.family is Family.QWEN:
        return {"choices": [_write_choice([{"image": url} for url in urls])]}
    return {"choices": [_write_choice([{"type": "image", "image": url}]) for url in urls], "finished": True}


def _write_choice(content: list[dict[str, str]]) -> dict[str, object]:
    return {"finish_reason": "stop", "message": {"role": "assistant", "content": content}}


def _write_usage(model: Model, outcome: Outcome) -> dict[str, object]:
    usage: dict[str, object] = {"image_count": outcome.image_count}
    if outcome.size is not None and model.family is Family.QWEN:
        usage.update(width=outcome.size[0], height=outcome.size[1])
    elif outcome.size is not None:
        usage.update(size=f"{outcome.size[0]}*{outcome.size[1]}", input_tokens=0, output_tokens=0, total_tokens=0)
    return usage


def _count_items(task: Task) -> dict[str, int]:
    total = task.order.count
    succeeded = task.outcome.image_count
    return {"TOTAL": total, "SUCCEEDED": succeeded, "FAILED": total - succeeded if task.status.is_terminal else 0}


def _milliseconds(epoch_seconds: float) -> int:
    return int(epoch_seconds * 1000)


def read_list_time(text: str, zone_offset_seconds: int = 8 * 3600) -> float:
    """Read a `YYYYMMDDhhmmss` of the list call, UTC+8, as seconds since the epoch.

    Raises:
        ValueError: It is none.
    """
    if len(text) != len("YYYYMMDDhhmmss") or not text.isascii() or not text.isdigit():
        raise ValueError("not a time of the form YYYYMMDDhhmmss")
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp() - zone_offset_seconds
