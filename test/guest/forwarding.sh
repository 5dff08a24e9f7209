# forwarding.sh - one disk through two nodes, dm-multipath by ALUA; the owner changes while files are written, then is lost.
# Environment: IQN, PORTAL_A (of the owner), PORTAL_B.
. /guest-lib.sh

cat >> /etc/iscsi/iscsid.conf <<'C'
node.session.timeo.replacement_timeout = 2
node.conn[0].timeo.noop_out_interval = 1
node.conn[0].timeo.noop_out_timeout = 2
C
cat > /etc/multipath.conf <<'C'
defaults {
  user_friendly_names yes
  find_multipaths no
  polling_interval 1
  max_polling_interval 1
  path_grouping_policy group_by_prio
  prio alua
  failback immediate
  no_path_retry 30
}
C
for m in dm-multipath dm-round-robin dm-service-time ext4; do modprobe "$m"; done
check 0 'initiator starts' start_initiator || exit 1
check 0 'login at both nodes' login "$IQN" "$PORTAL_A" "$PORTAL_B" || exit 1
multipathd -d > /tmp/multipathd.log 2>&1 &
map=/dev/mapper/mpatha
wait_for 20 test -b $map
check 0 'multipath device' test -b $map || { cat /tmp/multipathd.log; lsscsi -t; exit 1; }

disk_at() { lsscsi -t | awk -v n="$1" '$3 ~ n && $NF ~ /^\/dev/ {sub("/dev/", "", $NF); print $NF}'; }
# The target port tag is in the transport name: IQN,t,0x1 of the owner to begin with, 0x101 of the other node.
disk_a=$(disk_at ',t,0x1$') disk_b=$(disk_at ',t,0x101$')
prio_is() { multipathd show paths format '%d %p' | grep -qE "^$1 +$2 *\$"; }
wait_for 10 prio_is "$disk_a" 50
check 0 'the owner is preferred' prio_is "$disk_a" 50
check 0 'the other node is the second choice' prio_is "$disk_b" 10
check 0 'both paths are one device' test "$(multipathd show paths format '%w' | tail -n +2 | sort -u | wc -l)" = 1
stamp multipath

check 0 'mkfs.ext4' mkfs.ext4 -q -F $map
check 0 'mount' mount -o errors=remount-ro $map /mnt
write_files() { # write_files PREFIX COUNT
  local i
  for i in $(seq "$2"); do
    head -c 1048576 /dev/urandom > "/mnt/$1$i" && sync "/mnt/$1$i" || return 1
    sha256sum "/mnt/$1$i" >> /tmp/sums
  done
}
check 0 'files before' write_files a 4
# While it moves, files are written by both paths.
write_files b 8 > /tmp/writer 2>&1 & writer=$!
check 0 'host moves it to the other node' host move
wait $writer
check 0 'files while it moves' test $? = 0
wait_for 20 prio_is "$disk_b" 50
check 0 'the path follows the owner' prio_is "$disk_b" 50
stamp moved
check 0 'files after' write_files c 4
write_files d 8 > /tmp/writer 2>&1 & writer=$!
check 0 'host takes the owner away' host lose
wait $writer
check 0 'files while it is lost' test $? = 0
stamp lost
check 0 'no error in the file system' grep -q ' /mnt ext4 rw' /proc/mounts
check 0 'umount' umount /mnt
echo 3 > /proc/sys/vm/drop_caches
check 0 'fsck finds nothing' e2fsck -f -n $map
check 0 'mount again' mount -o ro $map /mnt
check 0 'all files as written' sha256sum --quiet -c /tmp/sums
check 0 'all files counted' test "$(wc -l < /tmp/sums)" = 24
check 0 'umount again' umount /mnt
kill %1; wait %1 2>/dev/null
multipath -f mpatha
exit "$failures"
