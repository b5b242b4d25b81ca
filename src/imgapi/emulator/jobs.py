"""From an accepted order to its outcome: the work, the scripted fate, the links."""

import logging

from imgapi.clock import Clock
from imgapi.emulator.answers import TaskFailure
from imgapi.emulator.inputs import Inputs
from imgapi.emulator.links import ResultLinks, name_result
from imgapi.emulator.orders import Order
from imgapi.emulator.tasks import Fate, Item, Outcome, Task
from imgapi.emulator.workshop import Work, Workshop

_log = logging.getLogger(__name__)
_ITEM_CODE = "InternalError.Timeout"
_ITEM_MESSAGE = (
    "An internal timeout error has occured during execution, please try again later or contact service support."
)


class Jobs:
    """Carries out orders to the end.

    Args:
        workshop: Makes the pictures.
        inputs: Holds the input pictures until they are used.
        links: Keeps the results.
        clock: Dates the results' names.
    """

    def __init__(self, workshop: Workshop, inputs: Inputs, links: ResultLinks, clock: Clock) -> None:
        self._workshop = workshop
        self._inputs = inputs
        self._links = links
        self._clock = clock

    async def run_task(self, task: Task) -> Outcome:
        """Carry out a task; its failures are part of the outcome."""
        return await self.run(task.order, task.task_id, task.fate)

    async def run(self, order: Order, task_id: str, fate: Fate) -> Outcome:
        """Carry out an order; its failures are part of the outcome."""
        try:
            if fate.failure is not None:
                return Outcome(failure=fate.failure)
            work = await self._workshop.carry_out(order, task_id)
            return await self._hand_out(order, task_id, fate, work)
        except TaskFailure as failure:
            return Outcome(failure=failure)
        except Exception:  # noqa: BLE001 - the border of the background work: the task has to end
            _log.exception("emulated task %s failed", task_id)
            return Outcome(failure=TaskFailure("InternalError.Algo", "algorithm process error"))
        finally:
            await self._inputs.release(order, task_id)

    async def _hand_out(self, order: Order, task_id: str, fate: Fate, work: Work) -> Outcome:
        items: list[Item] = []
        for index, picture in enumerate(work.pictures):
            if index + 1 in fate.fail_items:
                items.append(Item(code=_ITEM_CODE, message=_ITEM_MESSAGE))
                continue
            key = name_result(order.model, task_id, order.parameters, index, self._clock.time())
            items.append(Item(await self._links.keep(picture, key, task_id, expired=fate.expire_result)))
        if not any(item.url for item in items):
            return Outcome(failure=TaskFailure(_ITEM_CODE, _ITEM_MESSAGE))
        return Outcome(tuple(items), size=work.size, warnings=work.warnings, ignored=work.ignored)
