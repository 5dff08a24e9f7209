# kvm.sh - runs in a virtual machine of libvirt's that the firmware booted from a volume; and, later, in its clone.
. /guest-lib.sh
for m in virtio_scsi sd_mod ext4; do modprobe "$m"; done
# The kernel looks at all disks at once: which of two is sda is chance. The system is on the one with a partition.
part=''; find_part() { part=$(ls /dev/sd?1 2> /dev/null | head -n 1); [ -b "$part" ]; }
wait_for 40 find_part
check 0 'partition appears' test -b "$part" || exit 1
check 0 'booted from this disk' grep -q 'BOOT_IMAGE=(hd0)' /proc/cmdline
if mount -t ext4 "$part" /mnt 2> /dev/null; then
  check 0 'the clone has what the first machine wrote' sha256sum -c /mnt/sum
  umount /mnt
  exit "$failures"
fi
check 0 'mkfs.ext4' mkfs.ext4 -q -F "$part"
check 0 'mount' mount -t ext4 "$part" /mnt
check 0 'file written' dd if=/dev/urandom of=/mnt/file bs=1M count=32 conv=fsync
(cd / && sha256sum mnt/file > /mnt/sum)
sync
check 0 'host measures the full file system' host full
check 0 'host attaches a second disk' host attach
wait_for 20 test -b /dev/sdb
check 0 'it appears' test -b /dev/sdb
check 0 'it is written' dd if=/dev/urandom of=/dev/sdb bs=1M count=8 oflag=direct
umount /mnt
check 0 'host clones the machine' host clone
mount -t ext4 "$part" /mnt
check 0 'file removed' rm /mnt/file
sync
check 0 'fstrim' says 'bytes' fstrim -v /mnt
check 0 'host measures the trimmed file system' host trimmed
check 0 'host grows the second disk' host grow
larger() { [ "$(blockdev --getsize64 /dev/sdb)" = 100663296 ]; }
wait_for 20 larger
check 0 'the new size is seen' larger
check 0 'host takes a snapshot' host snapshot
check 0 'damage' dd if=/dev/zero of=/dev/sdb bs=1M count=8 oflag=direct
# Writes go on while the daemon is killed and started again.
(
  i=0
  while [ ! -e /run/enough ]; do
    dd if=/dev/zero of=/dev/sdb bs=4k count=1 seek=$((2048 + i % 64)) oflag=direct 2> /dev/null || echo "$i" >> /run/errors
    i=$((i + 1)); echo "$i" > /run/count
  done
) &
written() { [ "$(cat /run/count)" -gt "$1" ]; }
wait_for 30 written 5
check 0 'writes before it' written 5
check 0 'host kills the daemon and starts it again' host restart
wait_for 60 written $(($(cat /run/count) + 5))
check 0 'and behind it' test "$(cat /run/count)" -gt 10
touch /run/enough
wait
check 0 'no write failed' test ! -e /run/errors
check 0 'the kernel has seen no error' sh -c '! dmesg | grep -i "i/o error"'
umount /mnt
exit "$failures"
