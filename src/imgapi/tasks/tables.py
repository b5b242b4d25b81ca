"""The tables of the tasks database; instants are seconds since the epoch, money is CNY."""

import sqlalchemy as sa

VERSION = 1
metadata = sa.MetaData()

schema = sa.Table("imgapi_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))

tasks = sa.Table(
    "imgapi_tasks",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("operation", sa.String(32), nullable=False),
    # The name of the API key that asked; empty where none is needed.
    sa.Column("caller", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(16), nullable=False),
    # The process that works on it.
    sa.Column("owner", sa.String(36), nullable=False),
    # When a process last took it in hand.
    sa.Column("touched_at", sa.Float, nullable=False),
    # Sealed: it may name signed links.
    sa.Column("request", sa.Text),
    sa.Column("wanted", sa.Integer, nullable=False),
    sa.Column("lane", sa.String(96), nullable=False),
    sa.Column("turn", sa.Float, nullable=False),
    sa.Column("has_place", sa.Boolean, nullable=False),
    # A place of a task whose fate is unknown falls free by itself.
    sa.Column("place_until", sa.Float),
    sa.Column("model", sa.String(64)),
    # Sealed: the inputs as the model gets them.
    sa.Column("prepared", sa.Text),
    sa.Column("upstream_task_id", sa.String(128)),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("prepared_at", sa.Float),
    sa.Column("submitted_at", sa.Float),
    sa.Column("started_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("expires_at", sa.Float),
    # "true", "false" or "unknown".
    sa.Column("billed", sa.String(8), nullable=False),
    sa.Column("made", sa.Integer, nullable=False),
    sa.Column("price", sa.Float, nullable=False),
    # Sealed: the documented body, and the upstream's last word before it.
    sa.Column("report", sa.Text),
    sa.Column("reply", sa.Text),
    sa.Column("error", sa.Text),
    # Names of stored files that only this task needs, and of those it made.
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("results", sa.Text, nullable=False),
    # Sealed: where its end is to be told.
    sa.Column("webhook", sa.Text),
    sa.Index("imgapi_tasks_by_time", "created_at", "id"),
    sa.Index("imgapi_tasks_by_lane", "lane", "status", "turn"),
    sa.Index("imgapi_tasks_by_status", "status", "owner"),
)

events = sa.Table(
    "imgapi_events",
    metadata,
    sa.Column("task_id", sa.String(36), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

idempotency = sa.Table(
    "imgapi_idempotency",
    metadata,
    sa.Column("caller", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("task_id", sa.String(36), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)

# What each API key's edits have made in a calendar month (UTC), pictures under way included.
months = sa.Table(
    "imgapi_months",
    metadata,
    sa.Column("caller", sa.String(64), primary_key=True),
    sa.Column("month", sa.String(7), primary_key=True),
    sa.Column("images", sa.Integer, nullable=False),
)

# One row for each thing whose pace all replicas keep together: an account's model, an account's queries.
lanes = sa.Table(
    "imgapi_lanes",
    metadata,
    sa.Column("name", sa.String(96), primary_key=True),
    sa.Column("next_at", sa.Float, nullable=False),
    sa.Column("slow_until", sa.Float, nullable=False),
    sa.Column("slowdown", sa.Float, nullable=False),
    # The turn that was served last: the virtual time of the fair queue.
    sa.Column("turn", sa.Float, nullable=False),
)

replicas = sa.Table(
    "imgapi_replicas",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("seen_at", sa.Float, nullable=False),
)

deliveries = sa.Table(
    "imgapi_deliveries",
    metadata,
    # The `webhook-id` of every attempt.
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("task_id", sa.String(36), nullable=False),
    sa.Column("event", sa.String(32), nullable=False),
    # Sealed.
    sa.Column("url", sa.Text, nullable=False),
    # "pending", "delivered" or "given_up".
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Float, nullable=False),
    # While one process tries, the others leave it alone.
    sa.Column("leased_until", sa.Float, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Index("imgapi_deliveries_by_time", "state", "due_at"),
    sa.Index("imgapi_deliveries_by_task", "task_id"),
)

attempts = sa.Table(
    "imgapi_attempts",
    metadata,
    sa.Column("delivery_id", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    # The receiver's HTTP status; empty where none came.
    sa.Column("status", sa.Integer),
    sa.Column("problem", sa.String(200)),
)
