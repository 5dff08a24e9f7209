# copy.sh - copies between two disks on two targets, made by the storage: sg_xcopy and ddpt.
# Environment: IQN_A, IQN_B, PORTAL.
. /guest-lib.sh
check 0 'initiator starts' start_initiator || exit 1
check 0 'login to the first target' login "$IQN_A" "$PORTAL" || exit 1
check 0 'login to the second target' login "$IQN_B" "$PORTAL" || exit 1
find_disks() { mapfile -t disks < <(iscsi_disks); [ ${#disks[@]} = 2 ]; }
wait_for 10 find_disks
a=${disks[0]} b=${disks[1]}
check 0 'two disks appear' test -b "$a" -a -b "$b" || exit 1
stamp login

sum() { dd if="$1" bs=1M count=32 iflag=direct 2> /dev/null | sha256sum; }
same() { [ "$(sum "$a")" = "$(sum "$b")" ]; }
check 0 'write the source' dd if=/dev/urandom of="$a" bs=1M count=32 oflag=direct conv=fsync
different() { ! same; }
check 0 'the disks differ' different
check 0 'sg_copy_results tells the limits' says 'Maximum target descriptor count: 64' sg_copy_results --params "$a"
check 0 'sg_inq shows third-party copy' says '3PC=1' sg_inq "$a"
check 0 'sg_xcopy' sg_xcopy if="$a" of="$b" bs=512 count=65536
check 0 'sg_xcopy: same data' same
stamp sg_xcopy

check 0 'write the source again' dd if=/dev/urandom of="$a" bs=1M count=32 oflag=direct conv=fsync
# One command each: of several, ddpt 0.97 sends all with the LBAs of the first.
for at in 0 32768; do
  check 0 "ddpt with xcopy at $at" ddpt if="$a" iflag=xcopy of="$b" bs=512 count=32768 skip=$at seek=$at
done
check 0 'ddpt: same data' same
check 0 'ddpt, to another place of the same disk' ddpt if="$a" iflag=xcopy of="$a" bs=512 count=8 skip=16 seek=65536
piece() { dd if="$a" bs=512 skip="$1" count=8 iflag=direct 2> /dev/null | sha256sum; }
moved() { [ "$(piece 16)" = "$(piece 65536)" ]; }
check 0 'ddpt: it is there' moved
stamp ddpt

check 0 'logout' logout
exit $failures
