"""RabbitMQ is upgraded on its disk: from the release before to the one that production runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kombu.connection import Connection

from stargaze.serve.queue.backends import count_messages, declare_queues
from stargaze.serve.runtime.settings import QUEUE_NAME
from tests.servers import PREVIOUS_ROOT, ROOT, broker_version, servers

pytestmark = [pytest.mark.upgrades, pytest.mark.filterwarnings("ignore::ResourceWarning")]  # sockets of stopped servers
JOBS = 200


def test_accepted_jobs_survive_the_upgrade_of_rabbitmq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with servers(tmp_path, broker_root=PREVIOUS_ROOT) as both:
        for name, value in both.environment.items():
            monkeypatch.setenv(name, value)
        password = Path(os.environ["STARGAZE_BROKER_PASSWORD_FILE"]).read_text().strip()
        url = both.broker_url.replace("stargaze@", f"stargaze:{password}@")
        assert broker_version(both.broker.root) < (4, 3)
        with Connection(url) as connection:
            declare_queues(connection)
            with connection.Producer() as producer:
                for number in range(JOBS):
                    producer.publish({"number": number}, routing_key=QUEUE_NAME, exchange=QUEUE_NAME, delivery_mode=2)

        both.broker.stop()
        both.broker.root = ROOT
        both.broker.start()

        assert broker_version(both.broker.root) >= (4, 3)
        with Connection(url) as connection:
            declare_queues(connection)
            assert count_messages(connection) == JOBS
            with connection.channel() as channel:
                numbers = {channel.basic_get(QUEUE_NAME, no_ack=True).body for _ in range(JOBS)}
            assert len(numbers) == JOBS
