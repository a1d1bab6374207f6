#!/bin/bash
# The first process of a host: mounts the disk and the file systems that a Linux system expects, then becomes systemd.
#   first.sh FOLDER NAME LAYERS    FOLDER holds the disk of the host, LAYERS are the read-only folders below it, separated by colons
# lab.py starts it in separate namespaces, so that its mounts disappear when it ends.
set -euo pipefail

folder=$1 name=$2 layers=$3 root=$1/root
mount --make-rprivate /
mkdir -p "$folder"/{root,upper,work,docker}
mount -t overlay overlay -o "lowerdir=$layers,upperdir=$folder/upper,workdir=$folder/work" "$root"
mount -t proc proc "$root/proc"
# A host may change the settings of its network; all others belong to this machine.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs sysfs "$root/sys"

# The same version of control groups as this machine; the root that the host sees is its own group.
words=""
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    # Otherwise systemd would use a tree of v2 beside them, in which all hosts share and delete each other's groups.
    words="systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
    mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
    for mounted in /sys/fs/cgroup/*; do
        kind=${mounted##*/}
        [ -d "$mounted/$(cat "$folder/group")" ] || continue
        mkdir "$root/sys/fs/cgroup/$kind"
        case $kind in
        systemd) mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd" ;;
        *) mount -t cgroup -o "$kind" cgroup "$root/sys/fs/cgroup/$kind" ;;
        esac
    done
fi

mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root"/dev/{pts,shm,mqueue}
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/var/lib/docker"
mount --bind "$folder/docker" "$root/var/lib/docker" # an overlay cannot hold the engine's overlays

hostname "$name"
cd "$root"
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 container=lab "SYSTEMD_PROC_CMDLINE=$words" \
    setpriv --bounding-set -sys_time,-sys_module,-sys_rawio \
    /lib/systemd/systemd --show-status=no </dev/null
