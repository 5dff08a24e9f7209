# kvm-proxmox.sh - the Proxmox plugin's own part for its host (Gemel::PVE::Host), with the real open-iscsi, udev and multipath.
# Environment: IQN, NAA, PORTALS, CHAP_USER, CHAP_SECRET, NEW_BYTES (size after the host's "grow").
. /guest-lib.sh
tar -x -f /perl.tar -C /
# What Debian has there, and the image has not.
[ -e /usr/bin/iscsiadm ] || ln -s /usr/sbin/iscsiadm /usr/bin/iscsiadm
mkdir -p /etc/multipath/conf.d
cp /multipath-gemel.conf /etc/multipath/conf.d/gemel.conf
for m in dm-multipath dm-round-robin dm-service-time; do modprobe "$m"; done
check 0 'initiator starts' start_initiator || exit 1
multipathd -d > /tmp/multipathd.log 2>&1 &
wait_for 20 multipathd show daemon
pve() { perl /kvm-proxmox.pl "$@"; }
device=/dev/disk/by-id/dm-uuid-mpath-3$NAA

check 0 'nobody is logged in' says 'attached: 0' pve attached
check 0 'attach' says "$device" pve attach || { cat /tmp/multipathd.log; lsscsi -t; exit 1; }
check 0 'it is a block device' test -b "$device"
check 0 'attached' says 'attached: 1' pve attached
check 0 'CHAP is in the records' sh -c 'grep -rqs "authmethod = CHAP" /etc/iscsi/nodes /var/lib/iscsi/nodes'
check 0 'in no file others may read' test -z "$(grep -rls -- "$CHAP_SECRET" /etc/iscsi /var/lib/iscsi | xargs -r ls -l | grep -v '^-rw-------')"
paths() { [ "$(multipathd show paths format '%t' | grep -c '^active')" = 2 ]; }
wait_for 20 paths
check 0 'two paths' paths
head -c 4194304 /dev/urandom > /tmp/data
check 0 'written' dd if=/tmp/data of="$device" bs=1M oflag=direct
check 0 'attach again' says "$device" pve attach
check 0 'host grows the disk' host grow
grown() { pve resized && [ "$(blockdev --getsize64 "$device")" = "$NEW_BYTES" ]; }
wait_for 20 grown
check 0 'the new size is seen' grown
check 0 'read back' sh -c "dd if=$device bs=1M count=4 iflag=direct | cmp - /tmp/data"
exec 9< "$device"
check 0 'a disk that is open is kept' says 'still in use' pve failing-detach
exec 9<&-
check 0 'detach' pve detach
check 0 'no session is left' says 'attached: 0' pve attached
check 1 'no device is left' test -e "$device"
check 0 'no record is left' sh -c '! grep -rqs "$IQN" /etc/iscsi/nodes /var/lib/iscsi/nodes'
check 0 'detach again' pve detach
check 0 'a wrong secret is refused' says 'cannot log in' pve stranger
kill %1; wait %1 2>/dev/null
exit "$failures"
