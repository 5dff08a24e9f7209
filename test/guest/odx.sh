# odx.sh - offloaded copies by tokens, as ddpt and ddptctl make them.
# Environment: IQN_A, IQN_B, PORTAL.
. /guest-lib.sh
check 0 'initiator starts' start_initiator || exit 1
login "$IQN_A" "$PORTAL" && a=$(iscsi_disks | head -n 1)
login "$IQN_B" "$PORTAL" && b=$(iscsi_disks | grep -v "^$a\$" | head -n 1)
check 0 'both disks appear' test -b "$a" -a -b "$b" || exit 1
sg() { sg_map26 "$1"; }
sa=$(sg "$a") sb=$(sg "$b")
stamp login

check 0 'third-party copy page' says 'Third party copy VPD page' sg_vpd -p tpc "$a"
check 0 'limits' says 'Maximum range descriptors: 64' sg_vpd -p tpc "$a"
check 0 'commands' says 'Populate token' sg_vpd -p tpc "$a"
unknown() { ! sg_vpd -p tpc "$a" 2>&1 | grep -qiE 'unexpected|unknown|invalid|truncated|bad'; }
check 0 'the page is decoded without complaint' unknown
check 0 'ddptctl --info' ddptctl --info "$sa"

image=$(mktemp) back=$(mktemp)
head -c 16777216 /dev/urandom > "$image"
check 0 'an image is written' dd if="$image" of="$a" bs=1M oflag=direct conv=fsync

check 0 'POPULATE TOKEN' ddptctl --pt=0,32768 --rtf=/tmp/token "$sa"
check 0 'the token is decoded' says 'Point in time copy - default' ddptctl --info --rtf=/tmp/token
check 0 'REPORT ALL ROD TOKENS' ddptctl --all_toks "$sa"
check 0 'the source is overwritten' dd if=/dev/zero of="$a" bs=1M count=4 oflag=direct conv=fsync
check 0 'WRITE USING TOKEN' ddptctl --wut=0,32768 --rtf=/tmp/token "$sb"
check 0 'it is read back' dd if="$b" of="$back" bs=1M count=16 iflag=direct
check 0 'what was there when the token was made' cmp "$image" "$back"
check 0 'WRITE USING TOKEN del_tkn' ddptctl --wut=40000,128 --rtf=/tmp/token --del_tkn "$sb"
gone() { ! ddptctl --wut=0,128 --rtf=/tmp/token "$sb"; }
check 0 'the deleted token is refused' gone
aborted() { ! ddptctl --abort --list_id=0x9999 "$sb"; }
check 0 'COPY OPERATION ABORT of nothing is refused' aborted
stamp tokens

check 0 'the image again' dd if="$image" of="$a" bs=1M oflag=direct conv=fsync
check 0 'ddpt copies by token' ddpt if="$sa" iflag=odx of="$sb" oflag=odx bs=512 count=32768 skip=0 seek=100
check 0 'it is read back again' dd if="$b" of="$back" bs=512 skip=100 count=32768 iflag=direct
check 0 'the copy is the image' cmp "$image" "$back"
check 0 'ddpt writes zeros by token' ddpt if=/dev/zero of="$sb" oflag=odx,zero_tok bs=512 count=2048 || true
stamp copies
check 0 'logout' logout
exit "$failures"
