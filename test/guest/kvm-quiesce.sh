# kvm-quiesce.sh - a file system on a disk of a virtual machine of libvirt's, with the guest agent of QEMU, while snapshots are taken.
. /guest-lib.sh
tar -x -f /agent.tar -C /
for m in virtio_scsi sd_mod ext4; do modprobe "$m"; done
insmod /usr/lib/modules/*/kernel/drivers/char/virtio_console.ko
wait_for 40 test -b /dev/sda
check 0 'disk appears' test -b /dev/sda || exit 1
port=''
find_port() { port=$(grep -ls org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name | head -n 1); [ -n "$port" ]; }
wait_for 20 find_port
check 0 'channel of the agent appears' test -n "$port" || exit 1
port=/dev/$(basename "$(dirname "$port")")
check 0 'mkfs.ext4' mkfs.ext4 -q -F /dev/sda
check 0 'mount' mount -t ext4 /dev/sda /mnt
# Nobody asks for this to be on the disk; a file system at rest has it there all the same.
echo before > /mnt/without
sync
# Something is always under way in the file system.
( i=0; while [ ! -e /run/enough ]; do echo "$i" > /mnt/count; mv /mnt/count /mnt/counted; i=$((i + 1)); echo "$i" > /run/count; done ) &
echo unsynced > /mnt/first
check 0 'host takes a snapshot without an agent' host bare
qemu-ga -m virtio-serial -p "$port" -t /run -f /run/qemu-ga.pid -d
echo unsynced > /mnt/second
check 0 'host takes a snapshot with the agent' host quiesced
before=$(cat /run/count)
more() { [ "$(cat /run/count)" -gt $((before + 5)) ]; }
wait_for 30 more
check 0 'writing goes on behind it' more
check 0 'host takes one that fails in the middle' host failing
before=$(cat /run/count)
wait_for 30 more
check 0 'and behind that' more
touch /run/enough
wait %1
umount /mnt
exit "$failures"
