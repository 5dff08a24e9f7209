#!/bin/sh
# A machine of its own out of this one: processes, mounts, network and cgroups apart, changes in RAM, systemd as process 1.
# usage: machine.sh FOLDER FILES (which it has as /tmp/files), as root, in a new mount, PID, network, IPC, UTS and cgroup namespace. Never returns.
set -eu
folder=$1
mount --make-rprivate /
mount -t tmpfs -o size=2g gemel-test "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay gemel-test -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
cd "$folder/root"
rm -rf var/lib/gemel etc/gemel usr/lib/gemel usr/sbin/policy-rc.d
mount -t proc proc proc
# The kernel is everybody's: its settings are not for this machine to change. Without a writable /sys there is no udev either.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mkdir tmp/files
mount --bind "$2" tmp/files
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
  set -- $node
  mknod -m 666 "dev/$1" c "$2" "$3"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
# Of the services of this machine only those that systemd itself and ours need.
for unit in etc/systemd/system/*.wants etc/systemd/system/*.requires; do rm -rf "$unit"; done
for unit in systemd-udevd systemd-sysctl systemd-modules-load systemd-random-seed systemd-remount-fs systemd-binfmt apparmor \
  networking systemd-tmpfiles-setup systemd-tmpfiles-setup-dev kmod-static-nodes iscsid open-iscsi multipathd; do
  ln -sf /dev/null "etc/systemd/system/$unit.service"
done
for unit in dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount; do
  ln -sf /dev/null "etc/systemd/system/$unit"
done
printf '[Unit]\nDescription=test of the package\n' > etc/systemd/system/gemel-test.target
: > etc/machine-id
exec env -i container=gemel-test PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
  chroot . /lib/systemd/systemd --system --unit=gemel-test.target --log-target=console --show-status=no
