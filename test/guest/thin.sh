# thin.sh - a disk of a pool that runs out of room: what sg3_utils and the kernel make of it.
# Environment: IQN, PORTAL. The disk has 16 GiB, its pool 64 MiB with the threshold at 50 %.
. /guest-lib.sh
check 0 'initiator starts' start_initiator || exit 1
check 0 'login' login "$IQN" "$PORTAL" || exit 1
disk=''; find_disk() { disk=$(iscsi_disks | head -n 1); [ -b "$disk" ]; }
wait_for 10 find_disk
check 0 'disk appears' test -b "$disk" || exit 1

check 0 'VPD B2: threshold exponent' says 'Threshold exponent: 7' sg_vpd -p lbpv "$disk"
check 0 'VPD B2: thin, and unmapped blocks are zeros' says 'Provisioning type: 2' sg_vpd -p lbpv "$disk"
check 0 'VPD B2: no anchors' says '(ANC_SUP): 0' sg_vpd -p lbpv "$disk"
check 0 'VPD B0: WRITE SAME of 16 GiB' says 'Maximum write same length: 0x2000000' sg_vpd -p bl "$disk"
check 0 'log page 0Ch is listed' says '0x0c' sg_logs "$disk"
check 0 'log page 0Ch: available' says 'Available LBA mapping threshold resource count: 1024' sg_logs -p 0xc "$disk"
check 0 'log page 0Ch: of the whole pool' says 'not dedicated to lu' sg_logs -p 0xc "$disk"
check 0 'mode page 1Ch/02h' says 'Logical block provisioning' sg_modes --page=0x1c,2 "$disk"
# 512 sets of 64 KiB are half of the pool.
check 0 'mode page 1Ch/02h: the threshold' says '80 01 00 00 00 00 02 00' sg_modes --page=0x1c,2 -H "$disk"
stamp pages

provisioned() { says "$1" sg_get_lba_status --lba="$2" "$disk"; }
check 0 'nothing is mapped' provisioned 'deallocated' 0
check 0 'write 4 KiB' dd if=/dev/urandom of="$disk" bs=4k count=1 seek=100 oflag=direct
check 0 'mapped as soon as it is acknowledged' provisioned 'mapped' 800
check 0 'and nothing beside it' provisioned 'blocks:        800  deallocated' 0
check 0 'WRITE SAME of zeros over all of it' sg_write_same --16 --ndob --lba=0 --num=33554431 --timeout=30 "$disk"
check 0 'gives the room back' provisioned 'deallocated' 800
stamp zeros

check 0 'write below the threshold' dd if=/dev/urandom of="$disk" bs=1M count=28 oflag=direct
told() { dmesg | grep -c 'thin provisioning soft threshold'; }
check 0 'nobody is told' test "$(told)" = 0
check 0 'write above it' dd if=/dev/urandom of="$disk" bs=1M count=8 seek=28 oflag=direct
sleep 1; sg_turs "$disk"; dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct
check 0 'the kernel is told' test "$(told)" = 1
check 0 'write more' dd if=/dev/urandom of="$disk" bs=1M count=4 seek=36 oflag=direct
sleep 1; dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct
check 0 'once' test "$(told)" = 1
check 0 'logout above it' logout
check 0 'login again' iscsiadm -m node -T "$IQN" -p "$PORTAL" --login
check 0 'disk comes again' wait_for 10 find_disk
# The commands with which it looks at the new disk bring it.
check 0 'who comes later is told' test "$(told)" = 2
stamp threshold

check 1 'write more than there is' dd if=/dev/urandom of="$disk" bs=1M count=64 seek=40 oflag=direct
check 0 'the kernel says why' says 'critical space allocation error' dmesg
check 0 'what is there can be read' dd if="$disk" of=/dev/null bs=1M count=40 iflag=direct
check 0 'and written' dd if=/dev/urandom of="$disk" bs=1M count=1 oflag=direct
check 0 'give space back' blkdiscard --offset 0 --length 1G "$disk"
written() { dd if=/dev/urandom of="$disk" bs=1M count=8 oflag=direct; }
check 0 'there is room again' wait_for 30 written
check 0 'logout' logout
exit "$failures"
