#!/bin/sh
# A Docker engine for the tests alone: on a socket in its own folder, without a network of its own, gone when it is stopped.
#   docker-engine.sh start FOLDER   installs what is missing, starts the engine, makes its base image; FOLDER/docker.sock answers
#   docker-engine.sh stop FOLDER    ends it by its own number; FOLDER keeps images and layers for the next time
# The base image stands in for python:3.11-slim-bookworm under its name. It is made of this machine's own Debian packages, with
# this machine's certificates and settings of pip, so that a build finds what this machine finds.
set -eu

folder=$(realpath -m "${2:?usage: docker-engine.sh start|stop FOLDER}")
root=""
base=python:3.11-slim-bookworm
engine() { docker --host "unix://$folder/docker.sock" "$@"; }

install() {
    missing=""
    { command -v dockerd && command -v docker; } >/dev/null || missing="$missing docker.io"
    command -v debootstrap >/dev/null || missing="$missing debootstrap"
    test -x /usr/sbin/sshd || missing="$missing openssh-server"
    test -z "$missing" && return
    echo "installing$missing" >&2
    apt-get update -qq
    # From Debian 13 on the command is a package of its own, which the engine only recommends.
    if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then missing="$missing docker-cli"; fi
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

start() {
    mkdir -p "$folder"
    engine info >/dev/null 2>&1 && return
    # No bridge and no rules: the machine's own network stays as it is. Builds use the host's, containers have none.
    setsid dockerd --host "unix://$folder/docker.sock" --pidfile "$folder/pid" --data-root "$folder/data" \
        --exec-root "$folder/exec" --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
        >"$folder/log" 2>&1 </dev/null &
    tries=0
    until engine info >/dev/null 2>&1; do
        tries=$((tries + 1))
        test "$tries" -lt 300 || { tail -n 20 "$folder/log" >&2; echo "error: the engine does not answer" >&2; exit 5; }
        sleep 0.2
    done
}

base_image() {
    engine image inspect "$base" >/dev/null 2>&1 && return
    root=$(mktemp -d)
    echo "making $base of Debian's packages" >&2
    # shellcheck source=/dev/null # every Debian has it
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' | awk -v suite="$suite" '$2 == suite {print $1; exit}')
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
        "$suite" "$root" "$mirror" >"$folder/debootstrap.log" || { tail -n 20 "$folder/debootstrap.log" >&2; exit 5; }
    cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
    chroot "$root" update-ca-certificates >/dev/null 2>&1
    cp /etc/pip.conf "$root/etc/" 2>/dev/null || true
    cp /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
    # As in the official image: `python` and `python3` are found, and pip may install.
    ln -sf /usr/bin/python3 "$root/usr/local/bin/python"
    rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
    # As slim as the official image is: without manuals and translations.
    tar -C "$root" --exclude './var/cache/apt/*' --exclude './var/lib/apt/lists/*' --exclude './usr/share/doc/*' \
        --exclude './usr/share/man/*' --exclude './usr/share/info/*' --exclude './usr/share/locale/*' -c . |
        engine import --change 'ENV LANG=C.UTF-8' - "$base" >/dev/null
}

# A number that was left behind may be another program's by now, and whoever has ended may stay a zombie.
is_ours() { tr '\0' '\n' 2>/dev/null <"/proc/$1/cmdline" | grep -qxF "unix://$folder/docker.sock"; }

stop() {
    test -s "$folder/pid" || return 0
    pid=$(cat "$folder/pid")
    if is_ours "$pid"; then kill "$pid" 2>/dev/null || true; fi
    while is_ours "$pid"; do sleep 0.1; done
    # An engine leaves the name of a network mounted, and a folder with a mount in it cannot be removed.
    awk -v place="$folder/" 'index($2, place) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n 1 umount || true
}

# A start that fails, or is interrupted, leaves no engine and no half of an image.
tidy() {
    code=$?
    trap - EXIT
    test -z "$root" || rm -rf --one-file-system "$root"
    test "$code" = 0 || stop
    exit "$code"
}

case $1 in
start)
    test "$(id -u)" = 0 && command -v apt-get >/dev/null || {
        echo "error: the tests' Docker engine needs Debian and root" >&2
        exit 3
    }
    trap tidy EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    install
    start
    base_image
    ;;
stop) stop ;;
*)
    echo "usage: docker-engine.sh start|stop FOLDER" >&2
    exit 2
    ;;
esac
