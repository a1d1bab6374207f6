# Only python3 is needed. The two main targets are `make demo` and `make test`.
#   make demo    the whole pipeline on the default sample; it ends with a page that predicts (DEMO_ARGS=--once: predict once and exit)
#   make test    the checks that need no root: lint, types, contracts, all fast tests, the pipeline, the page in a browser
#   make check   the checks while you edit, under a minute: lint, types, contracts, tests without other programs or large fits
#   make servers the queue on a real RabbitMQ and Redis (Debian, as root)
#   make docker  screening in containers of a real Docker engine (Debian, as root)
#   make openstack   `infra` on a real OpenStack control plane, installed into a second environment (570 MB)
#   make hosts   the playbooks on hosts with systemd and ssh (Debian, as root)
#   make cluster stages on a Ray cluster of two nodes behind a real ssh server
#   make swarm   deliveries to a Docker Swarm of two hosts, under load and with kills (Debian, as root)
#   make hosts-and-swarm  `make hosts` and `make swarm` on the same hosts, which boot once
#   make kills   the tests that kill `infra` and `deploy` at random moments, 20 rounds each instead of 3 (half an hour)
#   make faults  every fault of the page and the stages under load: kills, full disk, deleted files; prints a table (Debian, as root)
#   make upgrades  upgrade RabbitMQ on its disk, from the release before to the one that production runs
#   make fuzz    change each type of bundle file 5,000 times (FUZZ_CASES) and the input of each reader 10,000 times (READER_CASES),
#                and use what is accepted in watched processes (two hours)
#   make audit   compare the locked packages with the advisories of PyPI (needs PyPI itself, not a mirror)
#   make lock    resolve the dependencies again and write the lock files
# The tests of each suite start all servers, engines and hosts that they need, and stop them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_ARGS ?=
FUZZ_CASES ?= 5000
READER_CASES ?= 10000
# Each process would compile all modules that it imports, if a variable of the environment forbade to write bytecode.
export PYTHONDONTWRITEBYTECODE :=
# Data of the tests' Docker engines: only the first run builds images and layers. The suites with a Swarm have an engine of their
# own, so that `docker` can run beside them.
ENGINE := $(CURDIR)/.engine
swarm hosts-and-swarm kills: ENGINE := $(CURDIR)/.engine-swarm
# The minimal Debian from which the hosts and containers of the tests are created.
DEBIAN := $(CURDIR)/.debian
# A Debian with the RabbitMQ and the Redis of the tests, in the versions that production runs.
SERVERS := $(CURDIR)/.servers
# The demo screens on a part of the repositories with fewer folds, and tries few configurations: it computes for two minutes instead of ten.
DEMO_ENV := STARGAZE_SCREENING_MAX_ROWS=1000 STARGAZE_FEATURES_FOLDS=3 STARGAZE_FEATURES_IMPORTANCE_REPEATS=1 STARGAZE_TUNING_ENSEMBLE_SIZE=1
LOCK = --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile
PYTEST := $(BIN)/python -m pytest --durations=15 --durations-min=8
# Tests that `make tests` does not run: those of the other suites.
OTHERS := referee or servers or job or browser or docker or openstack or hosts or cluster or swarm or faults or upgrades
SKIP := --ignore tests/referee --ignore tests/browser --ignore tests/integration

.PHONY: demo test check install debian lint playbooks types tests unit thorough real referee servers job browser docker openstack \
	hosts cluster swarm hosts-and-swarm kills faults upgrades fuzz audit lock clean

demo: $(VENV)/.installed
	$(DEMO_ENV) $(BIN)/stargaze run --trials 3 $(DEMO_ARGS)

test:
	+@$(PYTHON) tools/run_suites.py install lint playbooks types tests browser referee job

check:
	+@$(PYTHON) tools/run_suites.py install lint types unit

install: $(VENV)/.installed-dev

debian:
	sh tools/prepare.sh hosts debian docker
	sh tools/servers.sh $(SERVERS)
	sh tests/labs/hosts/template.sh $(CURDIR)/.hosts $(DEBIAN)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict .

playbooks: $(VENV)/.installed-dev
	cd ansible && ANSIBLE_HOME=$(CURDIR)/$(VENV)/ansible PATH=$(CURDIR)/$(BIN):$$PATH ansible-lint --offline --strict

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# unit, thorough and real in one pool of processes, which imports everything once.
tests: $(VENV)/.installed-dev
	$(PYTEST) --quiet --timeout 600 --numprocesses auto --dist worksteal $(SKIP) -m "not ($(OTHERS))"

unit: $(VENV)/.installed-dev
	$(PYTEST) --quiet --timeout 600 --numprocesses auto --dist worksteal $(SKIP) -m "not (thorough or real or $(OTHERS))"

thorough: $(VENV)/.installed-dev
	$(PYTEST) --quiet --numprocesses auto $(SKIP) -m "thorough and not real"

real: $(VENV)/.installed-dev
	$(PYTEST) --numprocesses auto $(SKIP) -m real

referee: $(VENV)/.installed-dev
	sh tools/referee.sh
	$(PYTEST) -m referee tests/referee

servers: $(VENV)/.installed-dev
	sh tools/servers.sh $(SERVERS)
	$(PYTEST) -m servers tests/serve/queue

# RabbitMQ is upgraded on its disk, from the version of Debian 13.
upgrades: $(VENV)/.installed-dev
	sh tools/servers.sh $(SERVERS)
	sh tools/servers.sh $(SERVERS)-previous trixie
	$(PYTEST) -m upgrades tests/serve/queue

job: $(VENV)/.installed-dev
	$(PYTEST) --numprocesses 2 --dist loadfile -m job tests/job

browser: $(VENV)/.installed-dev
	sh tools/prepare.sh browser
	$(PYTEST) -m browser tests/browser

WITH_ENGINE = trap 'sh tools/docker-engine.sh stop $(ENGINE)' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	sh tools/docker-engine.sh start $(ENGINE) $(DEBIAN) && DOCKER_HOST=unix://$(ENGINE)/docker.sock

docker: $(VENV)/.installed-dev
	$(WITH_ENGINE) $(PYTEST) -m docker tests/integration

# Two processes of tests share the control plane. One test boots the servers as hosts, which needs Debian and root.
openstack: $(VENV)/.installed-dev
	$(BIN)/python -m tests.labs.openstack install
	trap 'exit 130' INT; trap 'exit 143' TERM; \
		$(BIN)/python -m tests.labs.openstack status >/dev/null || { \
			trap '$(BIN)/python -m tests.labs.openstack down' EXIT; $(BIN)/python -m tests.labs.openstack up; } && \
		$(PYTEST) --numprocesses 2 --dist worksteal -m "openstack$(if $(filter 0,$(shell id -u)),, and not hosts)" tests/integration

hosts: $(VENV)/.installed-dev
	sh tools/prepare.sh hosts debian
	$(PYTEST) -m "hosts and not openstack" tests/integration; code=$$?; $(BIN)/python -m tests.labs.hosts down; exit $$code

# No root needed.
cluster: $(VENV)/.installed-dev
	sh tools/prepare.sh cluster
	$(PYTEST) -m cluster tests/integration

swarm: $(VENV)/.installed-dev
	sh tools/prepare.sh hosts debian docker
	sh tools/servers.sh $(SERVERS)
	$(WITH_ENGINE) $(PYTEST) -m swarm tests/integration

hosts-and-swarm: $(VENV)/.installed-dev
	sh tools/prepare.sh hosts debian docker
	sh tools/servers.sh $(SERVERS)
	$(WITH_ENGINE) $(PYTEST) -m "(hosts or swarm) and not openstack" tests/integration

kills: $(VENV)/.installed-dev
	sh tools/prepare.sh hosts debian docker
	sh tools/servers.sh $(SERVERS)
	$(BIN)/python -m tests.labs.openstack install
	$(WITH_ENGINE) STARGAZE_KILL_ROUNDS=20 $(PYTEST) -m kills tests/integration

faults: $(VENV)/.installed-dev
	STARGAZE_FAULT_ROUNDS=$${STARGAZE_FAULT_ROUNDS:-3} STARGAZE_STAGE_KILLS=$${STARGAZE_STAGE_KILLS:-200} $(PYTEST) --quiet -m faults tests/faults

$(VENV)/.installed: requirements.lock pyproject.toml
	sh tools/prepare.sh run
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true # pip would compile on one core; templates are not valid Python
	touch $@

# The developers' lock file contains all packages of the other one, in the same versions.
$(VENV)/.installed-dev: requirements-dev.lock requirements.lock pyproject.toml
	sh tools/prepare.sh run
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sh tools/install.sh requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $(VENV)/.installed $@

fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz --cases $(FUZZ_CASES) --reader-cases $(READER_CASES)

audit: $(VENV)/.installed-dev
	for part in serve dev; do $(BIN)/uv tool run pip-audit@2.10.1 --disable-pip --require-hashes \
		--requirement requirements-$$part.lock || exit; done

lock:
	$(BIN)/uv pip compile $(LOCK) --upgrade --extra build pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile $(LOCK) --constraint requirements.lock --group serve --output-file requirements-serve.lock
	$(BIN)/uv pip compile $(LOCK) --constraint requirements.lock --extra build --extra catboost --extra text pyproject.toml \
		--output-file requirements-optional.lock
	$(BIN)/uv pip compile $(LOCK) --constraint requirements-optional.lock --extra build --extra dev pyproject.toml \
		--output-file requirements-dev.lock

# The store stays: keys, releases and track record in it cannot be created again.
clean:
	rm -rf $(VENV) $(ENGINE) $(ENGINE)-swarm $(DEBIAN) $(SERVERS) $(SERVERS)-previous .openstack .hosts build dist
	@test ! -e store || echo "store/ was kept: it may contain keys, releases and a track record (stargaze backup FILE); rm -rf store deletes it"
