# kvm-stall.sh - one disk of a virtual machine of libvirt's, written and checked while nodes of the storage fail.
# Environment: ROUNDS, THREADS and BLOCKS of /pattern. The host knows what it does in each round.
. /guest-lib.sh
for m in virtio_scsi sd_mod; do modprobe "$m"; done
wait_for 40 test -b /dev/sda
check 0 'disk appears' test -b /dev/sda || exit 1
/pattern /dev/sda "$THREADS" "$BLOCKS" > /dev/console 2>&1 & pattern=$!
for round in $(seq "$ROUNDS"); do
  host "round$round" || { failures=$((failures + 1)); break; }
  kill -USR1 $pattern
  host verified || { failures=$((failures + 1)); break; }
done
kill -TERM $pattern
wait $pattern
check 0 'every block as it was written' test $? = 0
check 0 'the kernel has seen no error' sh -c '! dmesg | grep -iE "i/o error|offline|critical"'
exit "$failures"
