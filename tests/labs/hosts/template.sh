#!/bin/sh
# Create FOLDER/template, the disk that every test host starts from: a small Debian with the packages that the playbooks install.
#   template.sh FOLDER [DEBIAN]    does nothing if this version of the script has created it already; takes half a minute
# The minimal Debian in DEBIAN is its base (tools/debian-base.sh; by default .debian of the checkout). Hosts reach no package
# mirror, so the packages are installed here: apt on a host finds them installed and its lists empty.
set -eu

folder=$(realpath -m "${1:?usage: template.sh FOLDER}")
project=$(realpath "$(dirname "$0")/../../..")
debian=$(realpath -m "${2:-$project/.debian}")
template=$folder/template
draft=$folder/template.tmp
version=$(cat "$0" "$project/tools/debian-base.sh" | cksum)
mkdir -p "$folder"
exec 8>"$folder/template.lock"
flock 8 # two suites may run this at the same time
test "$(cat "$template/etc/stargaze-lab" 2>/dev/null)" = "$version" && exit 0

system="systemd systemd-sysv dbus openssh-server sudo iproute2 iputils-ping procps python3 python3-apt"
roles="acl certbot docker.io git haproxy iptables libgomp1 nftables openssh-client openssl pebble python3-venv unattended-upgrades"
# From Debian 13 on, the docker command is a package of its own, which the engine only recommends.
if apt-cache show docker-cli >/dev/null 2>&1; then roles="$roles docker-cli"; fi

inside() { chroot "$draft" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }

sh "$project/tools/debian-base.sh" "$debian"
echo "creating the disk of the test hosts" >&2
rm -rf --one-file-system "$draft"
cp -a "$debian/base" "$draft"
cp -a /etc/apt/sources.list* "$draft/etc/apt/"
cp /etc/resolv.conf "$draft/etc/resolv.conf"
# No service is started during the installation, and no write waits for the disk.
printf '#!/bin/sh\nexit 101\n' >"$draft/usr/sbin/policy-rc.d"
chmod +x "$draft/usr/sbin/policy-rc.d"
echo force-unsafe-io >"$draft/etc/dpkg/dpkg.cfg.d/unsafe-io"
# shellcheck disable=SC2086 # lists of packages
inside sh -c 'apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"' - $system $roles \
    >"$folder/template.log" 2>&1 || {
    tail -n 20 "$folder/template.log" >&2
    exit 5
}
rm -rf "$draft"/usr/sbin/policy-rc.d "$draft"/etc/dpkg/dpkg.cfg.d/unsafe-io "$draft"/etc/ssh/ssh_host_* \
    "$draft"/var/lib/apt/lists/* "$draft"/etc/apt/sources.list* "$draft"/var/cache/apt/archives/*.deb \
    "$draft"/etc/apt/apt.conf.d/*proxy*
: >"$draft/etc/apt/sources.list"
: >"$draft/etc/machine-id"
# As in cloud images: one user with sudo and keys, and no password anywhere.
inside useradd --create-home --shell /bin/bash debian
echo 'debian ALL=(ALL) NOPASSWD: ALL' >"$draft/etc/sudoers.d/cloud"
# It has no server to forward to yet, and would fail at every boot.
inside systemctl disable --quiet haproxy.service
# Hosts share the clock and the kernel of this machine; these timers would disturb other processes.
inside systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service
echo "$version" >"$draft/etc/stargaze-lab"
rm -rf --one-file-system "$template"
mv "$draft" "$template"
