"""The backends of queue and results: files and SQLite on one machine, or RabbitMQ and Redis. All differences are here."""

from __future__ import annotations

import os
import sqlite3
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from amqp.exceptions import AMQPError, MessageNacked
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import ChannelError, KombuError
from redis.exceptions import RedisError

from stargaze.config import ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.queue.message_folder import MessageFolder
from stargaze.serve.runtime.settings import DEAD_LETTER_QUEUE, QUEUE_NAME, broker_url, ca_file, results_tls, results_url
from stargaze.store import Store

TIMEOUT = 2.0
"""Timeout for responses of broker and result store, after which a request is refused [s]."""
N_CONNECTIONS = 8
"""A process has so many connections to RabbitMQ and to Redis, open before its first request; its threads take turns."""
MAX_DELIVERIES = 4
"""RabbitMQ delivers a message to so many workers; if one more rejects it, it becomes a dead letter."""
MAX_QUEUE_LENGTH = 20_000
"""RabbitMQ refuses more messages, so that the client gets an error at once: no worker would reach them in time."""
RESULT_STORE = "stargaze_result_store"
"""The setting with Redis' URL or the path of the SQLite file; Celery itself has none, since it would overwrite jobs with its own
results."""
RESULT_STORE_OPTIONS = "stargaze_result_store_options"
"""The setting with the options of Redis' connection pool."""
RESULT_STORE_ERRORS = (sqlite3.Error, RedisError)
"""Exceptions if the result store cannot be reached."""
QUEUE_ERRORS = (KombuError, ChannelError, AMQPError, MessageNacked, OSError)
"""Exceptions if the queue cannot be reached or accepts no more messages."""


def queue_options(section: ServeSection, store: Store, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return Celery's settings of the queue."""
    url = broker_url(section, environ)
    if not url:
        return {
            "broker_url": "filesystem://",
            "broker_transport": "stargaze.serve.queue.filesystem_transport:Transport",
            "broker_transport_options": {"folder": str(store.queue)},
        }
    return {
        "broker_url": url,
        "broker_use_ssl": _broker_tls(url, environ),
        "broker_transport_options": {"confirm_publish": True},
        "broker_connection_timeout": TIMEOUT,
        "broker_heartbeat": 4,  # [s]; a worker notices within three that the broker is unreachable
        "broker_pool_limit": N_CONNECTIONS,
        "task_queues": [_prediction_queue()],
    }


def result_options(section: ServeSection, store: Store, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return Celery's settings of the result store."""
    url = results_url(section, environ)
    if not url:
        return {RESULT_STORE: store.results}
    return {
        RESULT_STORE: url,
        RESULT_STORE_OPTIONS: {
            "max_connections": N_CONNECTIONS,
            "timeout": TIMEOUT,
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "health_check_interval": 10,
            **results_tls(url, environ),
        },
    }


def declare_queues(connection: Connection) -> None:
    """Create queue and dead-letter queue on RabbitMQ; existing ones are not changed."""
    dead_letters = Queue(
        DEAD_LETTER_QUEUE,
        Exchange(DEAD_LETTER_QUEUE, type="fanout", durable=True),
        durable=True,
        queue_arguments={"x-queue-type": "quorum"},
    )
    with connection.channel() as channel:
        for queue in (dead_letters, _prediction_queue()):
            queue(channel).declare()


def queue_length(section: ServeSection, store: Store) -> int:
    """Count the waiting jobs; raises ExternalError if RabbitMQ cannot be reached."""
    if not section.broker_url:
        return MessageFolder(store.queue).count(QUEUE_NAME)
    try:
        url = broker_url(section, os.environ)
        with Connection(url, connect_timeout=TIMEOUT, ssl=_broker_tls(url, os.environ)) as connection:
            return count_messages(connection)
    except QUEUE_ERRORS as error:
        raise ExternalError(
            f"RabbitMQ cannot be reached: {error}", hint="check serve.broker_url, and that RabbitMQ runs"
        ) from error


def count_messages(connection: Connection, queue: str = QUEUE_NAME) -> int:
    """Count the waiting messages on RabbitMQ."""
    with connection.channel() as channel:
        return int(channel.queue_declare(queue, passive=True).message_count)


def _broker_tls(url: str, environ: Mapping[str, str]) -> dict[str, Any] | bool:
    """Return the TLS options of an amqps URL, which verify CA and host name; False for amqp."""
    if not url.startswith("amqps:"):
        return False
    return {
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": ca_file(environ),
        "server_hostname": urlsplit(url).hostname,
        "tls_minimum_version": ssl.TLSVersion.TLSv1_2,
    }


def _prediction_queue() -> Queue:
    """Return the queue of jobs: on disk, replicated by RabbitMQ, with a limit for messages that kill their workers."""
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": MAX_DELIVERIES,
        "x-dead-letter-exchange": DEAD_LETTER_QUEUE,
        "x-max-length": MAX_QUEUE_LENGTH,
        "x-overflow": "reject-publish",
    }
    exchange = Exchange(QUEUE_NAME, type="direct", durable=True)
    return Queue(QUEUE_NAME, exchange, QUEUE_NAME, durable=True, queue_arguments=arguments)
