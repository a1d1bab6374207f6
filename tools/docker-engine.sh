#!/bin/sh
# A Docker engine for the tests only: its socket and data are in its own folder, and it has no network of its own.
#   docker-engine.sh start FOLDER [DEBIAN]   installs missing packages, starts the engine and imports its base image;
#                                            the engine listens on FOLDER/docker.sock
#   docker-engine.sh stop FOLDER             stops the engine by its pid; images and layers stay in FOLDER
# The base image has the name of python:3.11-slim-bookworm. It is built from the minimal Debian in DEBIAN (debian-base.sh; by
# default .debian of the checkout), with the pip settings of this machine.
set -eu

folder=$(realpath -m "${2:?usage: docker-engine.sh start|stop FOLDER}")
debian=$(realpath -m "${3:-$(dirname "$0")/../.debian}")
extra=""
base=python:3.11-slim-bookworm
engine() { docker --host "unix://$folder/docker.sock" "$@"; }

start() {
    mkdir -p "$folder"
    engine info >/dev/null 2>&1 && return
    # No bridge and no firewall rules: the network of this machine does not change. Builds use it, containers have no network.
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
    sh "$(dirname "$0")/debian-base.sh" "$debian"
    echo "importing $base" >&2
    extra=$(mktemp -d)
    chmod 755 "$extra"
    mkdir -p "$extra/etc" "$extra/usr/local/bin"
    cp /etc/pip.conf "$extra/etc/" 2>/dev/null || true
    # As in the official image, `python` is a command and pip may install into the system. Manuals and translations are omitted.
    ln -s /usr/bin/python3 "$extra/usr/local/bin/python"
    # Files only: the engine rejects an archive that contains a path twice, even if it is a folder.
    (cd "$extra" && find . ! -type d >"$folder/extra-files")
    tar -c --exclude EXTERNALLY-MANAGED --exclude './var/cache/apt/*' --exclude './var/lib/apt/lists/*' \
        --exclude './usr/share/doc/*' --exclude './usr/share/man/*' --exclude './usr/share/info/*' \
        --exclude './usr/share/locale/*' -C "$debian/base" . -C "$extra" --files-from "$folder/extra-files" |
        engine import --change 'ENV LANG=C.UTF-8' - "$base" >/dev/null
}

# The pid in an old file may belong to another program by now, and an engine that has ended may still be a zombie.
is_engine() { tr '\0' '\n' 2>/dev/null <"/proc/$1/cmdline" | grep -qxF "unix://$folder/docker.sock"; }

stop() {
    test -s "$folder/pid" || return 0
    pid=$(cat "$folder/pid")
    if is_engine "$pid"; then kill "$pid" 2>/dev/null || true; fi
    while is_engine "$pid"; do sleep 0.1; done
    # An engine leaves a network namespace mounted, and a folder with a mount inside cannot be removed.
    awk -v prefix="$folder/" 'index($2, prefix) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n 1 umount || true
}

# A start that fails or is interrupted leaves no running engine.
clean_up() {
    code=$?
    trap - EXIT
    test -z "$extra" || rm -rf "$extra"
    test "$code" = 0 || stop
    exit "$code"
}

case $1 in
start)
    sh "$(dirname "$0")/prepare.sh" docker
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    start
    base_image
    ;;
stop) stop ;;
*)
    echo "usage: docker-engine.sh start|stop FOLDER" >&2
    exit 2
    ;;
esac
