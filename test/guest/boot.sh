# boot.sh - runs in a system that the firmware booted from the disk under test; its partition 1 is free to use.
# Environment: FILE_MIB.
. /guest-lib.sh
for m in virtio_blk ext4; do modprobe "$m"; done
wait_for 5 test -b /dev/vda1
check 0 'partition appears' test -b /dev/vda1 || exit 1
# GRUB names what it loaded: only the blocks of (hd0) can have brought this kernel.
check 0 'booted from this disk' grep -q 'BOOT_IMAGE=(hd0)' /proc/cmdline
check 0 'mkfs.ext4' mkfs.ext4 -q -F /dev/vda1
check 0 'mount' mount -t ext4 /dev/vda1 /mnt
check 0 'sync' sync
check 0 'host measures the empty file system' host empty
check 0 'file written' dd if=/dev/urandom of=/mnt/file bs=1M count="$FILE_MIB" conv=fsync
sync
check 0 'host measures the full file system' host full
check 0 'file removed' rm /mnt/file
sync
check 0 'fstrim' says 'bytes' fstrim -v /mnt
check 0 'host measures the trimmed file system' host trimmed
check 0 'umount' umount /mnt
check 0 'fsck finds nothing' e2fsck -f -n /dev/vda1
check 0 'blkdiscard' blkdiscard -f /dev/vda1
check 0 'host measures the erased partition' host erased
exit "$failures"
