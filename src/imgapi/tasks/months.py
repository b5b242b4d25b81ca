"""Months: what each API key's edits have made in a calendar month (UTC), pictures under way included."""

from datetime import UTC, datetime

import sqlalchemy as sa

from imgapi.errors import QuotaExceeded
from imgapi.tasks.lanes import insert_unless_there
from imgapi.tasks.record import Payer
from imgapi.tasks.tables import months


def _month(epoch_seconds: float) -> str:
    return f"{datetime.fromtimestamp(epoch_seconds, UTC):%Y-%m}"


def _seconds_left_in_month(epoch_seconds: float) -> float:
    now = datetime.fromtimestamp(epoch_seconds, UTC)
    following = now.replace(
        year=now.year + now.month // 12, month=now.month % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return (following - now).total_seconds()


def take(connection: sa.Connection, payer: Payer, images: int, now: float) -> None:
    """Count pictures to the payer's month before they are made."""
    if not payer.name:
        return
    month = _month(now)
    connection.execute(insert_unless_there(connection, months).values(caller=payer.name, month=month, images=0))
    mine = [months.c.caller == payer.name, months.c.month == month]
    if payer.images_per_month is not None:
        mine.append(months.c.images + images <= payer.images_per_month)
    if connection.execute(months.update().where(*mine).values(images=months.c.images + images)).rowcount == 0:
        message = (
            f"This key may make {payer.images_per_month} pictures a month and has fewer than {images} left; "
            "nothing was started."
        )
        raise QuotaExceeded(message, retry_after=_seconds_left_in_month(now))


def give_back(connection: sa.Connection, caller: str, created_at: float, images: int) -> None:
    """Return pictures that were not made to the month they were taken from."""
    if caller and images:
        mine = sa.and_(months.c.caller == caller, months.c.month == _month(created_at))
        left = sa.case((months.c.images > images, months.c.images - images), else_=0)
        connection.execute(months.update().where(mine).values(images=left))
