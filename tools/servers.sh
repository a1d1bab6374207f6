#!/bin/sh
# Create FOLDER/root, a minimal Debian with the versions of RabbitMQ and Redis that production runs. Needs Debian and root.
#   servers.sh FOLDER [SUITE]    does nothing if this version of the script has created it already; takes a minute
# The tests of the queue start the servers in it, and the images of the Swarm's tests are made of it, so both test one version.
# SUITE is a release of Debian, the first whose RabbitMQ is supported by its authors if it is not given.
set -eu

folder=$(realpath -m "${1:?usage: servers.sh FOLDER [SUITE]}")
suite=${2:-forky}
version="$suite $(cksum <"$0")"
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9 # two suites may run this at the same time
test "$(cat "$folder/version" 2>/dev/null)" = "$version" && exit 0

sh "$(dirname "$0")/prepare.sh" debian
# shellcheck source=/dev/null # exists on every Debian
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' | awk -v suite="$codename" '$2 == suite {print $1; exit}')
draft=$folder/draft
inside() { chroot "$draft" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
fail() {
    tail -n 20 "$folder/log" >&2
    exit 5
}
echo "creating a minimal Debian $suite with RabbitMQ and Redis" >&2
rm -rf --one-file-system "$folder/root" "$draft" "$folder/version"
# The script of the release is given, because debootstrap knows none that is newer than itself.
debootstrap --variant=minbase --include=ca-certificates "$suite" "$draft" "$mirror" /usr/share/debootstrap/scripts/sid \
    >"$folder/log" 2>&1 || fail
cp /etc/apt/apt.conf.d/*proxy* "$draft/etc/apt/apt.conf.d/" 2>/dev/null || true
cp /etc/resolv.conf "$draft/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$draft/usr/sbin/policy-rc.d" # no service is started
chmod +x "$draft/usr/sbin/policy-rc.d"
echo force-unsafe-io >"$draft/etc/dpkg/dpkg.cfg.d/unsafe-io"
# The index of a release that is not stable expires after a week, and a mirror may be older.
inside apt-get -qq -o Acquire::Check-Valid-Until=false update >>"$folder/log" 2>&1 || fail
inside apt-get -qq install -y --no-install-recommends rabbitmq-server redis-server redis-tools \
    >>"$folder/log" 2>&1 || fail
rm -rf "$draft"/usr/sbin/policy-rc.d "$draft"/var/lib/apt/lists/* "$draft"/var/cache/apt/* "$draft"/etc/apt/apt.conf.d/*proxy* \
    "$draft"/usr/share/doc/* "$draft"/usr/share/man/* "$draft"/usr/share/locale/* "$draft"/etc/resolv.conf
find "$draft/var/lib/rabbitmq" "$draft/etc/rabbitmq" -mindepth 1 -delete
printf '127.0.0.1 localhost\n' >"$draft/etc/hosts"
mv "$draft" "$folder/root"
echo "$version" >"$folder/version"
