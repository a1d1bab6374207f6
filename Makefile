# Everything from nothing but python3: the two that matter are `make demo` and `make test`.
#   make demo    the main job on the sample, ending with a page that predicts (DEMO_ARGS=--once: predict once and end)
#   make test    every check: lint, types, contracts, unit and documentation tests, the whole job, the page in a browser
#   make docker  screening in containers of a real Docker engine, which it starts and ends (Debian, as root)
#   make openstack   the servers' life on a real OpenStack control plane, which it installs, starts and ends
#   make hosts   the playbooks on hosts with systemd and ssh, which it boots and ends (Debian, as root)
#   make cluster   stages on a Ray cluster of two nodes behind a real ssh server, which it starts and ends
#   make swarm   deliveries to a Docker Swarm of two such hosts, under load, and kills
#   make check   the inner loop, under a minute: lint, types, contracts, tests that start no other program and fit little
#   make audit   ask the advisories that PyPI knows of what page and workers run, and of all else (wants PyPI itself, no mirror)
#   make lock    resolve the dependencies anew into the lock files

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_ARGS ?=
# What the engine of the tests keeps: its base image and its layers, so that only the first run builds all of them.
ENGINE := $(CURDIR)/.engine
# The demo screens on a part of the repositories and tries few configurations: two minutes instead of ten.
DEMO_ENV := STARGAZE_SCREENING_MAX_ROWS=2000 STARGAZE_FEATURES_IMPORTANCE_REPEATS=1 STARGAZE_TUNING_TIME_BUDGET=45
# On all cores, where pip would take one: the stages start many processes, and each reads the bytecode.
COMPILE = $(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
LOCK = --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile

.PHONY: demo test check lint playbooks types unit thorough real referee servers job browser docker openstack hosts cluster swarm audit lock clean

demo: $(VENV)/.installed
	$(DEMO_ENV) $(BIN)/stargaze run --trials 8 $(DEMO_ARGS)

test: lint playbooks types unit thorough real referee servers job browser

check: lint types unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict .

playbooks: $(VENV)/.installed-dev
	cd ansible && ANSIBLE_HOME=$(CURDIR)/$(VENV)/ansible PATH=$(CURDIR)/$(BIN):$$PATH ansible-lint --offline --strict

types: $(VENV)/.installed-dev
	$(BIN)/mypy

unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --quiet --numprocesses auto --ignore tests/referee \
		-m "not thorough and not real and not referee and not servers and not job and not browser and not docker and not openstack and not hosts and not cluster and not swarm"

thorough: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --quiet --numprocesses auto -m "thorough and not real and not browser"

real: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses auto -m real

referee: $(VENV)/.installed-dev
	sh tools/referee.sh
	$(BIN)/python -m pytest -m referee

servers: $(VENV)/.installed-dev
	sh tools/prepare.sh servers
	$(BIN)/python -m pytest -m servers

job: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m job

browser: $(VENV)/.installed-dev
	sh tools/prepare.sh browser
	$(BIN)/python -m pytest -m browser

# Not a part of `make test`: it builds an image of a gigabyte, and starts an engine.
docker: $(VENV)/.installed-dev
	trap 'sh tools/docker-engine.sh stop $(ENGINE)' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
		sh tools/docker-engine.sh start $(ENGINE) && \
		DOCKER_HOST=unix://$(ENGINE)/docker.sock $(BIN)/python -m pytest -m docker

# Not a part of `make test`: it installs 570 MB of OpenStack beside the checkout's own environment.
openstack: $(VENV)/.installed-dev
	$(BIN)/python -m tests.labs.openstack install
	$(BIN)/python -m pytest -m "openstack and not hosts"

# Not a part of `make test`: it makes a small Debian, and installs stargaze on four hosts.
hosts: $(VENV)/.installed-dev
	sh tools/prepare.sh hosts
	$(BIN)/python -m pytest -m hosts; ended=$$?; $(BIN)/python -m tests.labs.hosts down; exit $$ended

# Not a part of `make test` either: minutes, and two cores of its own. No root needed.
cluster: $(VENV)/.installed-dev
	sh tools/prepare.sh cluster
	$(BIN)/python -m pytest -m cluster

# Not a part of `make test`: it builds three images, and boots two hosts that run them.
swarm: $(VENV)/.installed-dev
	sh tools/prepare.sh hosts
	trap 'sh tools/docker-engine.sh stop $(ENGINE)' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
		sh tools/docker-engine.sh start $(ENGINE) && \
		DOCKER_HOST=unix://$(ENGINE)/docker.sock $(BIN)/python -m pytest -m swarm

$(VENV)/.installed: requirements.lock pyproject.toml
	sh tools/prepare.sh run
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	$(COMPILE)
	touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(PIP) --require-hashes --requirement requirements-dev.lock
	$(COMPILE)
	touch $@

audit: $(VENV)/.installed-dev
	for part in serve dev; do $(BIN)/uv tool run pip-audit@2.10.1 --disable-pip --require-hashes \
		--requirement requirements-$$part.lock || exit; done

lock:
	$(BIN)/uv pip compile $(LOCK) --upgrade --extra build pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile $(LOCK) --constraint requirements.lock --group serve --output-file requirements-serve.lock
	$(BIN)/uv pip compile $(LOCK) --constraint requirements.lock --extra build --extra xgboost --extra catboost pyproject.toml \
		--output-file requirements-optional.lock
	$(BIN)/uv pip compile $(LOCK) --constraint requirements-optional.lock --extra build --extra dev pyproject.toml \
		--output-file requirements-dev.lock

clean:
	rm -rf $(VENV) $(ENGINE) .openstack .hosts build dist store
