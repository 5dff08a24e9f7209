# faults.sh - one disk through two nodes of a cluster, dm-multipath by ALUA, while nodes, links and disks of the cluster fail.
# Environment: IQN, PORTAL_A, PORTAL_B, ADDRESS (of this guest), ISCSID and MULTIPATH (settings as they are recommended), ROUNDS,
# THREADS and BLOCKS of /pattern. The host knows what it does in each round; /pattern tells it what became of it.
. /guest-lib.sh

ip addr flush dev eth0
ip addr add "$ADDRESS/24" dev eth0
printf '%s\n' "$ISCSID" >> /etc/iscsi/iscsid.conf
printf 'defaults {\n  user_friendly_names yes\n  find_multipaths no\n}\n%s\n' "$MULTIPATH" > /etc/multipath.conf
for m in scsi_dh_alua dm-multipath dm-round-robin dm-service-time; do modprobe "$m" 2> /dev/null; done
check 0 'initiator starts' start_initiator || exit 1
check 0 'login at both nodes' login "$IQN" "$PORTAL_A" "$PORTAL_B" || exit 1
multipathd -d > /tmp/multipathd.log 2>&1 &
map=/dev/mapper/mpatha
wait_for 30 test -b $map
check 0 'multipath device' test -b $map || { cat /tmp/multipathd.log; lsscsi -t; exit 1; }
active_paths() { multipathd show paths format '%t' | grep -c '^active'; }
both_paths() { [ "$(active_paths)" = 2 ]; }
multipathd show config local | grep -E 'fast_io_fail|no_path_retry|hardware_handler' | head -n 5
stamp multipath

/pattern $map "$THREADS" "$BLOCKS" > /dev/console 2>&1 & pattern=$!
for round in $(seq "$ROUNDS"); do
  wait_for 90 both_paths || { multipathd show topology; multipathd show paths; iscsiadm -m session -P 1; tail -n 20 /tmp/multipathd.log; }
  check 0 "both paths before round $round" both_paths
  # Nothing is written until the host is ready.
  kill -STOP $pattern
  host ready
  kill -CONT $pattern
  host round || { failures=$((failures + 1)); break; }
  kill -USR1 $pattern
  host verified || { failures=$((failures + 1)); break; }
done
kill -TERM $pattern
wait $pattern
check 0 'every block as it was written' test $? = 0
dmesg | grep -iE 'I/O error|offline|critical' | head -n 20
exit "$failures"
