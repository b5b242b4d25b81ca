"""What a caller can do next with an answer: the links of the OpenAPI document, which testers and generators follow."""

from typing import Any

Links = dict[str, dict[str, Any]]


def _step(operation: str, description: str, **parameters: str) -> dict[str, Any]:
    return {"operationId": operation, "parameters": parameters, "description": description}


def _task_steps(task_id: str) -> Links:
    """Write the steps that lead from an answer to its task, by the expression that finds the task's id in it."""
    return {
        "look": _step("get_task", "The task as it stands.", task_id=task_id),
        "follow": _step("follow_task", "Its events, from the first.", task_id=task_id),
        "cancel": _step("cancel_task", "Cancel it while it waits.", task_id=task_id),
        "deliveries": _step("list_deliveries", "What its webhook was told.", task_id=task_id),
        "forget": _step("delete_task", "Forget it, once it has ended.", task_id=task_id),
    }


# Of a reply, a task or an accepted task, all of which have the task's id.
AFTER_TASK: Links = _task_steps("$response.body#/task_id")
AFTER_TASKS: Links = {
    "newest": _step("get_task", "The first of the page.", task_id="$response.body#/tasks/0/task_id"),
    "next_page": _step("list_tasks", "The page after this one.", cursor="$response.body#/next_cursor"),
}
AFTER_DELIVERIES: Links = {
    "replay": _step(
        "replay_delivery",
        "Tell it again.",
        task_id="$request.path.task_id",
        delivery_id="$response.body#/deliveries/0/id",
    )
}
AFTER_UPLOAD: Links = {"show": _step("get_file", "The picture, as it was uploaded.", name="$response.body#/name")}
