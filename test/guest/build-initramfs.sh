#!/bin/bash
# build-initramfs.sh KERNEL_TREE OUT.cpio
#
# Makes the guest's user space: programs of the INSTALLED Debian packages with every library they need, a closure of
# kernel modules out of KERNEL_TREE (a kernel package unpacked with dpkg-deb -x), and guest-init as /init.
#
# Needs no root.  The result does not depend on the host's configuration (accounts, iscsid.conf and so on are written
# here) and is byte-identical when rebuilt from the same packages: fixed times, sorted names, owner 0:0.
# It is left uncompressed: the kernel unpacks it faster, and guest.ts appends the test script to it.
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
[ $# -eq 2 ] || { sed -n '2p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
tree=$1 out=$2
die() { echo "build-initramfs: $*" >&2; exit 1; }

root=$(mktemp -d); trap 'rm -rf "$root"' EXIT

# Debian's merged layout: /bin, /sbin, /lib, /lib64 are links into /usr.  A host path can then be used as it is.
mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{dev,proc,sys,run,tmp,mnt,root,etc/iscsi,etc/multipath,var/lib}
for d in bin sbin lib lib64; do ln -s "usr/$d" "$root/$d"; done
ln -s ../run "$root/var/run"; ln -s ../run/lock "$root/var/lock"

# ---------------------------------------------------------------- programs
copied=()
put() { # put FILE...: copy to the same path; a symbolic link is copied as the file it points to
  local f
  for f in "$@"; do
    [ -f "$f" ] || die "missing $f"
    mkdir -p "$root$(dirname "$f")"
    cp -L "$f" "$root$f"; chmod 755 "$root$f"
    copied+=("$f")
  done
}
put /sbin/iscsid /sbin/iscsiadm /sbin/iscsi-iname
put /sbin/multipath /sbin/multipathd /sbin/mpathpersist /sbin/kpartx /sbin/dmsetup
put /bin/kmod /bin/bash /bin/dd /usr/bin/cmp /usr/bin/timeout /usr/bin/sha256sum /bin/lsblk /bin/findmnt
put /sbin/mke2fs /sbin/e2fsck /sbin/blkid /sbin/blkdiscard /sbin/fstrim /sbin/wipefs /usr/bin/lsscsi
put /usr/bin/ddpt
mapfile -t sg < <(dpkg -L sg3-utils | grep -E '^/usr/bin/(sg_|sginfo|sgp_dd|sgm_dd)'); put "${sg[@]}"
ln -s ../bin/kmod "$root/sbin/modprobe"; ln -s mke2fs "$root/sbin/mkfs.ext4"; ln -s e2fsck "$root/sbin/fsck.ext4"

# udev: multipath identifies disks by ID_SERIAL, which udev's rules set with scsi_id; sg_xcopy resolves /dev/sdX
# through /dev/block links.  The daemon is one binary with udevadm and looks at the name it was started by.
udevd=$(readlink -e /usr/lib/systemd/systemd-udevd) || die "missing systemd-udevd"
put /usr/bin/udevadm "$udevd" /lib/udev/scsi_id
[ "$udevd" -ef /usr/bin/udevadm ] && udevd=/usr/bin/udevadm
ln -s "$udevd" "$root/sbin/udevd"
mkdir -p "$root/usr/lib/udev/rules.d"
for r in 50-udev-default 55-dm 56-dm-mpath 60-block 60-multipath 60-persistent-storage 60-persistent-storage-dm \
         80-drivers 95-dm-notify; do
  if [ -e "/lib/udev/rules.d/$r.rules" ]; then cp "/lib/udev/rules.d/$r.rules" "$root/usr/lib/udev/rules.d/"; fi
done

# multipath loads its checkers and prioritizers at run time; multipathd also needs libgcc_s, which the C library
# opens by name when a thread is cancelled: without it multipathd aborts.
mapfile -t plugins < <(dpkg -L multipath-tools | grep -E '/multipath/lib[^/]*\.so$')
[ ${#plugins[@]} -gt 0 ] || die "no multipath plug-ins found"
put "${plugins[@]}"
libgcc=$(ldconfig -p | awk '/libgcc_s\.so\.1 .*x86-64/ && !n++ {print $NF}'); [ -n "$libgcc" ] || die "missing libgcc_s.so.1"
put "$libgcc"

# Libraries, each at its own path, so that neither a linker cache nor LD_LIBRARY_PATH is needed.
# (ldd complains about shell scripts; that is expected.)
needs=$(ldd "${copied[@]}" 2>/dev/null || true)
if grep 'not found' <<< "$needs" >&2; then die "unresolved libraries"; fi
mapfile -t libs < <(awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\// && $2 ~ /^\(0x/ {print $1}' <<< "$needs" | sort -u)
put "${libs[@]}"

# busybox gives everything else a name, but never replaces a real program.
cp /bin/busybox "$root/usr/bin/busybox"
"$root/usr/bin/busybox" --list | while read -r a; do
  if [ ! -e "$root/usr/bin/$a" ] && [ ! -e "$root/usr/sbin/$a" ]; then ln -s busybox "$root/usr/bin/$a"; fi
done

# ---------------------------------------------------------------- configuration
printf '%s\n' 'root:x:0:0:root:/root:/bin/bash' 'nobody:x:65534:65534:nobody:/:/bin/false' > "$root/etc/passwd"
n=1; echo 'root:x:0:' > "$root/etc/group"
for g in tty disk lp kmem dialout cdrom tape audio video input sgx kvm render nogroup; do   # named in udev's rules
  echo "$g:x:$n:" >> "$root/etc/group"; n=$((n + 1))
done
echo 'passwd: files
group: files
hosts: files' > "$root/etc/nsswitch.conf"
echo '127.0.0.1 localhost guest' > "$root/etc/hosts"
ln -s /proc/mounts "$root/etc/mtab"
echo 'InitiatorName=iqn.2026-01.example.gemel:guest' > "$root/etc/iscsi/initiatorname.iscsi"
# No iscsid.startup line: iscsiadm must never try to start the daemon through a service manager.
echo 'node.startup = manual' > "$root/etc/iscsi/iscsid.conf"

# ---------------------------------------------------------------- kernel modules
modules="virtio_pci virtio_net virtio_blk virtio_scsi
  iscsi_tcp sd_mod sg crc32c_generic crc32c-intel
  dm-mod dm-multipath dm-round-robin dm-service-time dm-queue-length
  loop ext4"
base=$tree
if [ ! -d "$tree/lib/modules" ]; then                       # a kernel package with the modules under /usr/lib only
  [ -d "$tree/usr/lib/modules" ] || die "no modules in $tree"
  base=$tree/usr
fi
mapfile -t versions < <(ls "$base/lib/modules")
[ ${#versions[@]} -eq 1 ] || die "expected one kernel version in $tree, found: ${versions[*]}"
kver=${versions[0]}; from=$base/lib/modules/$kver to=$root/usr/lib/modules/$kver
[ -e "$from/modules.dep" ] || depmod -b "$base" "$kver"
mkdir -p "$to"
# shellcheck disable=SC2086  # the list is meant to be split
for m in $modules; do
  deps=$(modprobe -C /dev/null -d "$base" -S "$kver" --show-depends "$m" 2>/dev/null) ||
    { echo "build-initramfs: $kver has no module $m" >&2; continue; }
  awk '/^insmod/ {print $2}' <<< "$deps" | while read -r f; do
    rel=${f##*"/lib/modules/$kver/"}
    mkdir -p "$to/$(dirname "$rel")"; cp "$from/$rel" "$to/$rel"
  done
done
cp "$from"/modules.{builtin,builtin.modinfo,order} "$to/"
depmod -b "$root" "$kver"

# ---------------------------------------------------------------- archive
cp "$here/guest-init" "$root/init"; chmod 755 "$root/init"
find "$root" -exec touch -h -d @1700000000 {} +
(cd "$root" && find . -print0 | sort -z | cpio --quiet --null -o -H newc --reproducible -R 0:0) > "$out"
