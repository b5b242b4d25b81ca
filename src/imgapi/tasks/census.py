"""The census: how many tasks are under way, and how many messages to webhooks."""

from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa

from imgapi.tasks import deliveries
from imgapi.tasks.database import Database
from imgapi.tasks.record import UNDER_WAY
from imgapi.tasks.tables import deliveries as deliveries_table
from imgapi.tasks.tables import tasks


@dataclass(frozen=True, slots=True)
class Census:
    """What has not ended.

    Args:
        under_way: Tasks by operation, model (or `local`) and status.
        deliveries_pending: Messages to webhooks that were not heard yet.
    """

    under_way: Counter[tuple[str, str, str]]
    deliveries_pending: int


async def take_census(database: Database) -> Census:
    """Count, for all processes that share the database."""

    def work(connection: sa.Connection) -> Census:
        kinds = (tasks.c.operation, tasks.c.lane, tasks.c.status)
        query = sa.select(*kinds, sa.func.count()).where(tasks.c.status.in_(UNDER_WAY)).group_by(*kinds)
        under_way: Counter[tuple[str, str, str]] = Counter()
        for operation, lane, status, number in connection.execute(query):
            # What comes before the model names the account.
            under_way[operation, lane.rpartition("/")[2], status] += number
        pending = sa.select(sa.func.count()).where(deliveries_table.c.state == deliveries.PENDING)
        return Census(under_way, connection.execute(pending).scalar_one())

    return await database.run(work)
