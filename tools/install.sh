#!/bin/sh
# Install the packages of a lock file into .venv and compile them.
#   install.sh LOCK
# uv downloads and compiles on all cores. If it finds no package index, pip installs instead, with its own settings.
set -eu
cd "$(dirname "$0")/.."
lock=${1:?usage: install.sh LOCK}
python=.venv/bin/python
pip="$python -m pip --disable-pip-version-check install --quiet --no-compile --require-hashes --requirement"

# uv itself, in the version and with the hashes of the lock file.
awk '/^uv==/ {found = 1; print; next} found && /^ / {print; next} found {exit}' requirements-dev.lock >.venv/uv.lock
$pip .venv/uv.lock
$python -m uv pip install --quiet --python $python --compile-bytecode --require-hashes --requirement "$lock" && exit 0

echo "installing with pip instead" >&2
$pip "$lock"
# pip compiles on one core. Some packages contain templates that are not valid Python.
$python -m compileall -q -j 0 .venv/lib >/dev/null || true
