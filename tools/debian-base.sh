#!/bin/sh
# Create FOLDER/base, a minimal Debian: the source of the Docker base image and of the hosts' disks in the tests.
#   debian-base.sh FOLDER    does nothing if this version of the script has created it already; takes half a minute
# Release, package mirror and certificates are those of this machine, so that a build inside can use the same package mirrors.
set -eu

folder=$(realpath -m "${1:?usage: debian-base.sh FOLDER}")
version=$(cksum <"$0")
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9 # two suites may run this at the same time
test "$(cat "$folder/version" 2>/dev/null)" = "$version" && exit 0

sh "$(dirname "$0")/prepare.sh" debian
# shellcheck source=/dev/null # exists on every Debian
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' | awk -v suite="$suite" '$2 == suite {print $1; exit}')
echo "creating a minimal Debian $suite" >&2
rm -rf --one-file-system "$folder/base" "$folder/version"
debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
    "$suite" "$folder/base" "$mirror" >"$folder/log" 2>&1 || {
    tail -n 20 "$folder/log" >&2
    exit 5
}
cp /usr/local/share/ca-certificates/*.crt "$folder/base/usr/local/share/ca-certificates/" 2>/dev/null || true
chroot "$folder/base" update-ca-certificates >/dev/null 2>&1
cp /etc/apt/apt.conf.d/*proxy* "$folder/base/etc/apt/apt.conf.d/" 2>/dev/null || true
rm -f "$folder"/base/var/cache/apt/archives/*.deb
echo "$version" >"$folder/version"
