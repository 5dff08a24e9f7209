# kvm-vhost.sh - a disk of a virtual machine of libvirt's by vhost-user-blk, written while gemeld is killed and started again.
# Environment: THREADS and BLOCKS of /pattern.
. /guest-lib.sh
modprobe virtio_blk
host attach
wait_for 40 test -b /dev/vda
check 0 'disk appears' test -b /dev/vda || exit 1
/pattern /dev/vda "$THREADS" "$BLOCKS" > /dev/console 2>&1 & pattern=$!
host daemon || failures=$((failures + 1))
kill -USR1 $pattern
host verified || failures=$((failures + 1))
kill -TERM $pattern
wait $pattern
check 0 'every block as it was written' test $? = 0
check 0 'the kernel has seen no error' sh -c '! dmesg | grep -iE "i/o error|critical"'
check 0 'host detaches it' host detach
gone() { ! test -b /dev/vda; }
wait_for 20 gone
check 0 'it is gone' gone
exit "$failures"
