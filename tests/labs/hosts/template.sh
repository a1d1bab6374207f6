#!/bin/sh
# The disk that every host of the lab starts from: FOLDER/template, a small Debian with what the playbooks install.
#   template.sh FOLDER    makes it if it is not there, or was made by another version of this file (a minute)
# A host has no way out, so that the packages are here before: apt finds them installed, and its lists empty.
# They come from where this machine's own packages come from, with this machine's certificates.
set -eu

folder=$(realpath -m "${1:?usage: template.sh FOLDER}")
template=$folder/template
made=$folder/template.tmp
wanted=$(cksum <"$0")
test "$(cat "$template/etc/stargaze-lab" 2>/dev/null)" = "$wanted" && exit 0

# shellcheck source=/dev/null # every Debian has it
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' | awk -v suite="$suite" '$2 == suite {print $1; exit}')
system="systemd systemd-sysv dbus openssh-server sudo iproute2 iputils-ping procps python3 python3-apt"
roles="acl docker.io git haproxy iptables libgomp1 nftables openssh-client python3-venv unattended-upgrades"
# From Debian 13 on the command is a package of its own, which the engine only recommends.
if apt-cache show docker-cli >/dev/null 2>&1; then roles="$roles docker-cli"; fi

inside() { chroot "$made" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }

mkdir -p "$folder"
rm -rf --one-file-system "$made"
echo "making the disk of the lab's hosts: $suite" >&2
debootstrap --variant=minbase --include=ca-certificates "$suite" "$made" "$mirror" >"$folder/template.log" 2>&1 || {
    tail -n 20 "$folder/template.log" >&2
    exit 5
}
cp /usr/local/share/ca-certificates/*.crt "$made/usr/local/share/ca-certificates/" 2>/dev/null || true
inside update-ca-certificates >/dev/null 2>&1
cp -a /etc/apt/sources.list* "$made/etc/apt/"
cp /etc/apt/apt.conf.d/*proxy* "$made/etc/apt/apt.conf.d/" 2>/dev/null || true
cp /etc/resolv.conf "$made/etc/resolv.conf"
# Nothing is started while it is installed.
printf '#!/bin/sh\nexit 101\n' >"$made/usr/sbin/policy-rc.d"
chmod +x "$made/usr/sbin/policy-rc.d"
# shellcheck disable=SC2086 # lists of packages
inside sh -c 'apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"' - $system $roles \
    >>"$folder/template.log" 2>&1 || {
    tail -n 20 "$folder/template.log" >&2
    exit 5
}
rm -rf "$made"/usr/sbin/policy-rc.d "$made"/etc/ssh/ssh_host_* "$made"/var/lib/apt/lists/* "$made"/etc/apt/sources.list* \
    "$made"/var/cache/apt/archives/*.deb "$made"/etc/apt/apt.conf.d/*proxy*
: >"$made/etc/apt/sources.list"
: >"$made/etc/machine-id"
# As in the images of clouds: one user with sudo and keys, and no password anywhere.
inside useradd --create-home --shell /bin/bash debian
echo 'debian ALL=(ALL) NOPASSWD: ALL' >"$made/etc/sudoers.d/cloud"
# It has nothing to lead to yet, and would fail at every boot.
inside systemctl disable --quiet haproxy.service
# Hosts share the clock and the kernel of this machine; timers of housekeeping would only disturb.
inside systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service
echo "$wanted" >"$made/etc/stargaze-lab"
rm -rf --one-file-system "$template"
mv "$made" "$template"
