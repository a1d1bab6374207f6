#!/bin/sh
# Look for what pip cannot bring. On Debian as root it is installed, elsewhere the line to type is printed.
#   prepare.sh run       venv module, OpenMP runtime (LightGBM), git and ssh-keygen (signed releases)
#   prepare.sh browser   Chromium for the tests of the page
#   prepare.sh servers   RabbitMQ and Redis for the tests of the queue, which start their own on loopback
#   prepare.sh hosts    what boots the hosts of tests/labs/hosts: debootstrap, namespaces, ssh
#   prepare.sh cluster  the ssh server behind which the tests put a Ray cluster
#   prepare.sh referee   Node.js and npm for the descriptions of GitHub that the collector is held to
set -eu

missing=""
need() { missing="$missing $1"; }

case "${1:-run}" in
run)
    "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "error: Python 3.11 or newer is needed, $("${PYTHON:-python3}" -V 2>&1) is here" >&2
        echo "hint:  make PYTHON=/path/to/python3.11 ..." >&2
        exit 3
    }
    "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
    "${PYTHON:-python3}" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || need libgomp1
    command -v git >/dev/null || need git
    command -v ssh-keygen >/dev/null || need openssh-client
    ;;
browser)
    command -v chromium >/dev/null || test -n "${CHROMIUM:-}" || need chromium
    ;;
servers)
    test -x /usr/lib/rabbitmq/bin/rabbitmq-server || need rabbitmq-server
    command -v redis-server >/dev/null || need redis-server
    ;;
hosts)
    test "$(id -u)" = 0 || {
        echo "error: hosts of their own need root" >&2
        exit 3
    }
    command -v debootstrap >/dev/null || need debootstrap
    command -v ip >/dev/null || need iproute2
    command -v ssh >/dev/null || need openssh-client
    command -v nsenter >/dev/null || need util-linux
    command -v setpriv >/dev/null || need util-linux
    ;;
cluster)
    command -v ssh >/dev/null || need openssh-client
    test -x /usr/sbin/sshd || need openssh-server
    ;;
referee)
    command -v node >/dev/null || need nodejs
    command -v npm >/dev/null || need npm
    ;;
esac

test -z "$missing" && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing" >&2
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    # a server that comes with a package is not started: the tests start their own
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "error: missing:$missing" >&2
    echo "hint:  sudo apt install$missing" >&2
    exit 3
fi
