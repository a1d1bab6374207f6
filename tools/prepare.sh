#!/bin/sh
# Check for programs that pip cannot install. On Debian as root, install the missing ones; elsewhere, print the command that does.
#   prepare.sh NAME...
#   run        the venv module, the OpenMP runtime (LightGBM), git and ssh-keygen (signed releases)
#   browser    Chromium, for the tests of the page
#   debian     debootstrap, which creates the minimal Debian of hosts and containers (debian-base.sh)
#   docker     the Docker engine, and the ssh server through which a test reaches it
#   hosts      the programs that boot the hosts of tests/labs/hosts: network namespaces, ssh
#   cluster    the ssh server in front of the Ray cluster of the tests
#   referee    Node.js and npm, for GitHub's published descriptions that the crawl is compared with
set -eu

missing=""
need() { missing="$missing $1"; }
command_or() { command -v "$1" >/dev/null || need "$2"; }

check() {
    case $1 in
    run)
        "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            echo "error: Python 3.11 or newer is needed, $("${PYTHON:-python3}" -V 2>&1) is installed" >&2
            echo "hint:  make PYTHON=/path/to/python3.11 ..." >&2
            exit 3
        }
        "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
        "${PYTHON:-python3}" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || need libgomp1
        command_or git git
        command_or ssh-keygen openssh-client
        ;;
    browser) test -n "${CHROMIUM:-}" || command_or chromium chromium ;;
    debian | docker | hosts)
        test "$(id -u)" = 0 && command -v apt-get >/dev/null || {
            echo "error: the $1 of the tests needs Debian and root" >&2
            exit 3
        }
        case $1 in
        debian)
            command_or debootstrap debootstrap
            command_or flock util-linux
            ;;
        docker)
            command -v dockerd >/dev/null || need docker.io
            command_or docker docker.io
            test -x /usr/sbin/sshd || need openssh-server
            ;;
        hosts)
            command_or ip iproute2
            command_or ssh openssh-client
            command_or nsenter util-linux
            command_or setpriv util-linux
            ;;
        esac
        ;;
    cluster)
        command_or ssh openssh-client
        test -x /usr/sbin/sshd || need openssh-server
        ;;
    referee)
        command_or node nodejs
        command_or npm npm
        ;;
    *)
        echo "error: $1: no such part; the first lines of $0 list them" >&2
        exit 2
        ;;
    esac
}

for part in "${@:-run}"; do check "$part"; done
test -z "$missing" && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    exec 9>/run/lock/stargaze-apt
    flock 9 # two suites may install at the same time
    echo "installing$missing" >&2
    apt-get update -qq
    # From Debian 13 on, the docker command is a package of its own, which the engine only recommends.
    case $missing in *docker.io*) ! apt-cache show docker-cli >/dev/null 2>&1 || need docker-cli ;; esac
    # shellcheck disable=SC2086 # a list of packages
    # RUNLEVEL: the servers of the packages are not started; the tests start their own
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Options::=--force-unsafe-io $missing >/dev/null
else
    echo "error: missing:$missing" >&2
    echo "hint:  sudo apt install$missing" >&2
    exit 3
fi
