"""Create Neutron's database from its own models: ``neutron_schema.py CONF URL``.

Its migrations cannot run on SQLite, which alters no constraints; Neutron's unit tests do the same. One migration also
writes rows (the rules of a new security group): its own code is run.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import neutron
import sqlalchemy
from alembic.migration import MigrationContext
from alembic.operations import Operations
from neutron.common import config

config.register_common_config_options()
config.init(["--config-file", sys.argv[1]])

from neutron.db.migration.models import head  # noqa: E402 - the models read the options

RULES = "securitygroupdefaultrules"
VERSIONS = Path(neutron.__path__[0]) / "db/migration/alembic_migrations/versions"


def main(url: str) -> None:
    """Create all tables, and the rules by the migration that fills them."""
    metadata = head.get_metadata()
    engine = sqlalchemy.create_engine(url)
    metadata.create_all(engine)
    with engine.begin() as connection:
        metadata.tables[RULES].drop(connection)
        with Operations.context(MigrationContext.configure(connection)):
            _migration("c33da356b165").upgrade()


def _migration(revision: str) -> Any:
    path = next(VERSIONS.glob(f"*/expand/{revision}_*.py"))
    spec = importlib.util.spec_from_file_location("migration", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(sys.argv[2])
