#!/bin/bash
# Create a disk layer with /opt/stargaze and the packages of a lock file, as the role `stargaze` installs them.
#   packages.sh TEMPLATE WHEELHOUSE LOCK UV LAYER    WHEELHOUSE holds the wheels, UV is the program; LAYER is created
# A host with this layer above the template only needs the wheel of stargaze. The mounts are in a separate namespace.
set -euo pipefail

if [ "${IN_NAMESPACE:-}" = "" ]; then
    IN_NAMESPACE=1 exec unshare --mount --propagation private bash "$0" "$@"
fi
template=$1 wheelhouse=$2 lock=$3 uv=$4 layer=$5
draft=$layer.tmp
rm -rf --one-file-system "$draft"
mkdir -p "$draft"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=$template,upperdir=$draft/upper,workdir=$draft/work" "$draft/root"
mount -t proc proc "$draft/root/proc"
mount --bind /dev "$draft/root/dev"
mount -t tmpfs tmpfs "$draft/root/tmp"
mkdir "$draft/root/tmp/wheelhouse"
mount --bind "$wheelhouse" "$draft/root/tmp/wheelhouse"
cp "$lock" "$draft/root/tmp/lock"
cp "$uv" "$draft/root/tmp/uv"
chroot "$draft/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/tmp sh -euc '
    python3 -m venv /opt/stargaze
    /tmp/uv pip install --quiet --python /opt/stargaze/bin/python --no-index --find-links /tmp/wheelhouse \
        --compile-bytecode --require-hashes --requirement /tmp/lock
    echo "$(sha256sum </tmp/lock | cut -d " " -f 1) no wheel" >/opt/stargaze/installed'
umount -R "$draft/root"
rm -rf --one-file-system "$layer"
mv "$draft/upper" "$layer"
rm -rf --one-file-system "$draft"
