# probes.sh - CHAP and mutual CHAP, digests, and the sg3_utils probes of every command a Linux administrator may try.
# Environment: IQN, PORTAL, and CHAP_USER CHAP_SECRET MUTUAL_USER MUTUAL_SECRET.
. /guest-lib.sh
check 0 'initiator starts' start_initiator || exit 1
set_node() { node_setting "$IQN" "$PORTAL" "$1" "$2"; }
sign_in() { iscsiadm -m node -T "$IQN" -p "$PORTAL" --login; }

node_record "$IQN" "$PORTAL"
# 24: iscsiadm's status for a failed authorization.
check 24 'login without CHAP is refused' sign_in
set_node node.session.auth.authmethod CHAP
set_node node.session.auth.username "$CHAP_USER"
set_node node.session.auth.password "not-the-$CHAP_SECRET"
check 24 'login with a wrong secret is refused' sign_in
set_node node.session.auth.password "$CHAP_SECRET"
set_node node.session.auth.username_in "$MUTUAL_USER"
set_node node.session.auth.password_in "not-the-$MUTUAL_SECRET"
refused() { ! sign_in; }
check 0 'a target that cannot prove itself is refused' refused
set_node node.session.auth.password_in "$MUTUAL_SECRET"
set_node 'node.conn[0].iscsi.HeaderDigest' CRC32C
set_node 'node.conn[0].iscsi.DataDigest' CRC32C
check 0 'login with mutual CHAP and digests' sign_in || exit 1
check 0 'header digest' says 'HeaderDigest: CRC32C' iscsiadm -m session -P 2
check 0 'data digest' says 'DataDigest: CRC32C' iscsiadm -m session -P 2
udevadm settle
disk=''; find_disk() { disk=$(iscsi_disks | head -n 1); [ -b "$disk" ]; }
wait_for 10 find_disk
check 0 'disk appears' test -b "$disk" || exit 1
stamp login

pattern=$(mktemp) back=$(mktemp)
head -c 8388608 /dev/urandom > "$pattern"
check 0 'write with digests' dd if="$pattern" of="$disk" bs=256k oflag=direct conv=fsync
check 0 'read with digests' dd if="$disk" of="$back" bs=256k count=32 iflag=direct
check 0 'same data' cmp "$pattern" "$back"
stamp data

check 0 'sg_turs' sg_turs "$disk"
check 0 'sg_inq' says 'length=' sg_inq "$disk"
# VPD page 00h, raw: a header of 4 bytes, then one byte for each page.
pages=$(sg_vpd -p 0 --raw "$disk" | tail -c +5 | hexdump -v -e '1/1 "0x%02x\n"')
check 0 'VPD pages are listed' test "$(wc -w <<< "$pages")" -ge 6
for page in $pages; do check 0 "sg_vpd $page" sg_vpd -p "$page" "$disk"; done
check 0 'NAA identifier' says '0x6' sg_vpd -p di "$disk"
check 0 'sg_readcap 10' sg_readcap "$disk"
check 0 'sg_readcap 16' says 'lbpme=1' sg_readcap --long "$disk"
check 0 '4 KiB physical blocks' says 'blocks per physical block exponent=3' sg_readcap --long "$disk"
check 0 'sg_luns' says 'Lun list length = ' sg_luns "$disk"
check 0 'sg_opcodes' says 'Read(10)' sg_opcodes "$disk"
check 0 'sg_opcodes usage data' says 'Usage data: 28' sg_opcodes -o 0x28 "$disk"
check 0 'sg_rtpg' says 'target port group asymmetric access state' sg_rtpg -d "$disk"
check 0 'sg_modes' says 'Caching' sg_modes -a "$disk"
check 0 'sg_logs' sg_logs -a "$disk"
check 0 'sg_requests' sg_requests "$disk"
check 0 'sg_sync' sg_sync "$disk"
check 0 'sg_start' sg_start --start "$disk"
check 0 'sg_verify' sg_verify --lba=0 --count=64 "$disk"
check 14 'sg_verify finds a difference' sg_verify --lba=0 --count=1 --ndo=512 --in=/dev/zero "$disk"
check 0 'sg_verify compares' sg_verify --lba=0 --count=1 --ndo=512 "--in=$pattern" "$disk"
# 22: the status sg3_utils have for LBA OUT OF RANGE.
check 22 'reading past the end is refused' sg_dd if="$disk" of=/dev/null bs=512 count=1 skip=0x7fffffff blk_sgio=1
stamp probes

provisioned() { says "$1" sg_get_lba_status --lba="$2" "$disk"; }
check 0 'written blocks are mapped' provisioned 'mapped' 0
check 0 'sg_unmap' sg_unmap --force --lba=0 --num=2048 "$disk"
check 0 'unmapped blocks are deallocated' provisioned 'deallocated' 0
# Past the page cache: udev looks at a disk after each write, and what it has read stays there while it has the disk open.
check 0 'unmapped blocks read zeros' cmp -n 1048576 <(dd if="$disk" bs=1M count=1 iflag=direct) /dev/zero
check 0 'sg_write_same 16' sg_write_same --16 --lba=0 --num=256 --in="$pattern" --xferlen=512 "$disk"
check 0 'it wrote the block everywhere' sg_verify --lba=255 --count=1 --ndo=512 "--in=$pattern" "$disk"
check 0 'sg_write_same 10' sg_write_same --10 --lba=256 --num=256 --in="$pattern" --xferlen=512 "$disk"
# Blocks to compare with, then as many to write.
swap=/tmp/swap; { head -c 512 "$pattern"; head -c 512 /dev/zero; } > "$swap"
check 0 'sg_compare_and_write' sg_compare_and_write --in="$swap" --lba=300 --num=1 --xferlen=1024 "$disk"
check 0 'it wrote the block' sg_verify --lba=300 --count=1 --ndo=512 --in=/dev/zero "$disk"
# 14: MISCOMPARE.
check 14 'sg_compare_and_write finds a difference' sg_compare_and_write --in="$swap" --lba=300 --num=1 --xferlen=1024 "$disk"
check 0 'sg_write_same unmap' sg_write_same --16 --unmap --lba=0 --num=2048 --in=/dev/zero --xferlen=512 "$disk"
check 0 'write same unmap deallocates' provisioned 'deallocated' 0
check 0 'blkdiscard' blkdiscard --offset 4194304 --length 4194304 "$disk"
stamp provisioning

check 0 'PR capabilities' says 'Persist Through Power Loss Capable' sg_persist --in --report-capabilities "$disk"
check 0 'PR register' sg_persist --out --register --param-sark=0xabc "$disk"
check 0 'PR reserve' sg_persist --out --reserve --param-rk=0xabc --prout-type=5 "$disk"
check 0 'PR read keys' says '0xabc' sg_persist --in --read-keys "$disk"
check 0 'PR read reservation' says 'Write Exclusive, registrants only' sg_persist --in --read-reservation "$disk"
check 0 'PR full status' says '0xabc' sg_persist --in --read-full-status "$disk"
# 24: reservation conflict.
check 24 'PR wrong key' sg_persist --out --release --param-rk=0xdef --prout-type=5 "$disk"
check 0 'PR release' sg_persist --out --release --param-rk=0xabc --prout-type=5 "$disk"
check 0 'PR clear' sg_persist --out --clear --param-rk=0xabc "$disk"
stamp reservations

check 0 'sg_reset of the LUN' sg_reset -N -d "$disk"
check 0 'sg_reset of the target' sg_reset -N -t "$disk"
ready() { sg_turs "$disk"; }
wait_for 10 ready
check 0 'ready after the resets' ready
check 0 'data survived the resets' sg_verify --lba=2048 --count=1 "$disk"
stamp resets
check 0 'logout' logout
exit "$failures"
