# multipath.sh - two portals, dm-multipath, ext4; one path is cut and comes back under load; the disk grows.
# Environment: IQN, PORTAL_A, PORTAL_B, NEW_BYTES (size after the host's "grow").
. /guest-lib.sh

# iscsid's defaults wait 120 s for a lost session before multipath hears of it.
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
  no_path_retry 30
}
C
for m in dm-multipath dm-round-robin dm-service-time ext4; do modprobe "$m"; done
check 0 'initiator starts' start_initiator || exit 1
check 0 'login over two portals' login "$IQN" "$PORTAL_A" "$PORTAL_B" || exit 1
multipathd -d > /tmp/multipathd.log 2>&1 &
map=/dev/mapper/mpatha
wait_for 20 test -b $map
# Without the block device mkfs would make a plain file and the rest would "pass".
check 0 'multipath device' test -b $map || { cat /tmp/multipathd.log; lsscsi -t; exit 1; }

active_paths() { multipathd show paths format '%t' | grep -c '^active'; }
paths_are() { [ "$(active_paths)" = "$1" ]; }
wait_for 10 paths_are 2
check 0 'two active paths' paths_are 2
check 0 'both paths are one device' test "$(multipathd show paths format '%w' | tail -n +2 | sort -u | wc -l)" = 1
stamp multipath

check 0 'mkfs.ext4' mkfs.ext4 -q -F $map
check 0 'mount' mount $map /mnt
write_files() { # write_files PREFIX COUNT
  local i
  for i in $(seq "$2"); do
    head -c 1048576 /dev/urandom > "/mnt/$1$i" && sync "/mnt/$1$i" || return 1
    sha256sum "/mnt/$1$i" >> /tmp/sums
  done
}
check 0 'files before the cut' write_files a 6
stamp cut
check 0 'host cuts a path' host cut
check 0 'files during the cut' write_files b 6
stamp survived
wait_for 15 paths_are 1
check 0 'one active path left' paths_are 1
check 0 'host restores the path' host restore
wait_for 30 paths_are 2
check 0 'the path comes back' paths_are 2
stamp restored
check 0 'files after the cut' write_files c 3
check 0 'umount' umount /mnt
echo 3 > /proc/sys/vm/drop_caches
check 0 'fsck finds nothing' e2fsck -f -n $map
check 0 'mount again' mount -o ro $map /mnt
check 0 'all files as written' sha256sum --quiet -c /tmp/sums
check 0 'all files counted' test "$(wc -l < /tmp/sums)" = 15
check 0 'umount again' umount /mnt
stamp verified

disk=$(iscsi_disks | head -n 1)
grown() { iscsiadm -m session --rescan > /dev/null; [ "$(blockdev --getsize64 "$disk")" = "$NEW_BYTES" ]; }
check 1 'not grown yet' test "$(blockdev --getsize64 "$disk")" = "$NEW_BYTES"
check 0 'host grows the disk' host grow
# The kernel logs "Capacity data has changed" (06/2A/09) and the rescan takes the new size over.
wait_for 10 grown
check 0 'the new size is seen' grown
stamp grown
kill %1; wait %1 2>/dev/null
multipath -f mpatha
check 0 'logout' logout
exit "$failures"
