"""Which queue and which result store: files of one machine, or RabbitMQ and Redis. Everything that differs stands here."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amqp.exceptions import AMQPError, MessageNacked
from celery.exceptions import BackendError
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import ChannelError, KombuError
from redis.exceptions import RedisError
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from stargaze.config import ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.runtime.settings import DEAD_LETTER_QUEUE, QUEUE_NAME, broker_url, results_url
from stargaze.store import Store

POLLING = 0.05
"""The filesystem cannot wake a worker: it looks this often [s]."""
PATIENCE = 2.0
"""How long broker and result store may take to answer before a visitor is told that they are away [s]."""
DELIVERIES = 4
"""RabbitMQ gives a message to so many workers; one more that gives it back sends it to the dead ones."""
AWAY = (SQLAlchemyError, BackendError, RedisError)
"""What a result store raises that cannot be reached."""
CLOSED = (KombuError, ChannelError, AMQPError, MessageNacked, OSError)
"""What a queue raises that cannot be reached or takes no more."""
MOST_WAITING = 20_000
"""RabbitMQ refuses more questions than this, which the page says at once: no worker would come to them in time."""


def queue_options(section: ServeSection, store: Store, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return Celery's settings of the queue."""
    url = broker_url(section, environ)
    if not url:
        return {
            "broker_url": "filesystem://",
            "broker_transport": "stargaze.serve.queue.filesystem_transport:Transport",
            "broker_transport_options": {
                "data_folder_in": str(messages(store)),
                "data_folder_out": str(messages(store)),
                "control_folder": str(store.queue / "control"),
                "polling_interval": POLLING,
            },
        }
    return {
        "broker_url": url,
        "broker_transport_options": {"confirm_publish": True},
        "broker_connection_timeout": PATIENCE,
        "broker_heartbeat": 4,  # [s]; a worker notices within three that its broker is gone, however it went
        "broker_pool_limit": 16,
        "task_queues": [_live_queue()],
    }


def result_options(section: ServeSection, store: Store, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return Celery's settings of the result store."""
    url = results_url(section, environ)
    if not url:
        return {"result_backend": f"db+sqlite:///{store.results}", "database_engine_callback": _tune_sqlite}
    return {
        "result_backend": url,
        "redis_socket_timeout": PATIENCE,
        "redis_socket_connect_timeout": PATIENCE,
        "redis_retry_on_timeout": False,
        "redis_backend_health_check_interval": 10,
        "result_backend_transport_options": {"retry_policy": {"max_retries": 1, "interval_start": 0}},
    }


def messages(store: Store) -> Path:
    """Return the folder of messages that wait where there is no broker."""
    return store.queue / "messages"


def _live_queue() -> Queue:
    """Return the queue of questions: on disk, copied among RabbitMQ's nodes, with an end for what kills its workers."""
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERIES,
        "x-dead-letter-exchange": DEAD_LETTER_QUEUE,
        "x-max-length": MOST_WAITING,
        "x-overflow": "reject-publish",
    }
    return Queue(
        QUEUE_NAME,
        Exchange(QUEUE_NAME, type="direct", durable=True),
        QUEUE_NAME,
        durable=True,
        queue_arguments=arguments,
    )


def declare(connection: Connection) -> None:
    """Make queue and dead-letter queue on RabbitMQ; nothing changes where they are."""
    dead = Queue(
        DEAD_LETTER_QUEUE,
        Exchange(DEAD_LETTER_QUEUE, type="fanout", durable=True),
        durable=True,
        queue_arguments={"x-queue-type": "quorum"},
    )
    with connection.channel() as channel:
        for queue in (dead, _live_queue()):
            queue(channel).declare()


def queue_length(section: ServeSection, store: Store) -> int:
    """Count the questions that wait.

    Raises
    ------
    ExternalError
        If RabbitMQ is away.
    """
    if not section.broker_url:
        return sum(1 for path in messages(store).glob(f"*.{QUEUE_NAME}.msg"))
    try:
        url = broker_url(section, os.environ)
        with Connection(url, connect_timeout=PATIENCE) as connection:
            return waiting(connection)
    except CLOSED as error:
        raise ExternalError(f"RabbitMQ cannot be reached: {error}", hint="stargaze doctor") from error


def waiting(connection: Connection, queue: str = QUEUE_NAME) -> int:
    """Count the messages that wait on RabbitMQ."""
    with connection.channel() as channel:
        return int(channel.queue_declare(queue, passive=True).message_count)


def _tune_sqlite(engine: Engine) -> None:
    """Let several processes read while one writes, and let a writer wait a moment for another."""

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA busy_timeout = 3000")  # [ms]
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
