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

# ddpt 0.97 puts every range descriptor one byte too early: what it calls block L and N blocks is block 256 L and 256 N
# blocks on the wire. So 128 here are 32768 blocks, 16 MiB.
image=$(mktemp) back=$(mktemp)
head -c 16777216 /dev/urandom > "$image"
check 0 'an image is written' dd if="$image" of="$a" bs=1M oflag=direct conv=fsync
check 0 'POPULATE TOKEN' says 'transfer count of 32768' ddptctl --pt=0,128 --rtf=/tmp/token "$sa"
check 0 'the token is decoded' says 'point in time copy - default' ddptctl --info --rtf=/tmp/token
check 0 'the bytes it represents' says 'bytes represented: 16777216' ddptctl --info --rtf=/tmp/token
check 0 'RECEIVE ROD TOKEN INFORMATION again' ddptctl --receive "$sa"
check 0 'REPORT ALL ROD TOKENS' says 'headers returned: 1' ddptctl --all_toks "$sa"
check 0 'the source is overwritten' dd if=/dev/zero of="$a" bs=1M count=4 oflag=direct conv=fsync
check 0 'WRITE USING TOKEN' says 'transfer count of 32768' ddptctl --wut=0,128 --rtf=/tmp/token "$sb"
same() { dd if="$b" of="$back" bs=1M count=16 iflag=direct && cmp "$image" "$back"; }
check 0 'what was there when the token was made' same
check 0 'the source has its zeros' cmp -n 4194304 <(dd if="$a" bs=1M count=4 iflag=direct) /dev/zero
check 0 'WRITE USING TOKEN with DEL_TKN' ddptctl --wut=256,128 --rtf=/tmp/token --del_tkn "$sb"
refused() { ! "$@"; }
check 0 'the deleted token is refused' refused ddptctl --wut=0,128 --rtf=/tmp/token "$sb"
check 0 'no token is left' says 'No management ROD Tokens' ddptctl --all_toks "$sa"
check 0 'COPY OPERATION ABORT of nothing is refused' refused ddptctl --abort --list_id=0x9999 "$sb"
stamp tokens

# In the background, then asked for.
check 0 'a token for what is there now' ddptctl --pt=0,128 --rtf=/tmp/token "$sa"
check 0 'WRITE USING TOKEN with IMMED' ddptctl --wut=0,128 --rtf=/tmp/token --immed "$sb"
check 0 'and it ends' ddptctl --poll "$sb"
check 0 'zeros, and the rest' cmp <(dd if="$a" bs=1M count=16 iflag=direct) <(dd if="$b" bs=1M count=16 iflag=direct)

# ddpt asks for 128 blocks, is told that 32768 were copied, and says so; all of them are.
check 0 'the image again' dd if="$image" of="$a" bs=1M oflag=direct conv=fsync
check 0 'ddpt iflag=odx oflag=odx' ddpt if="$sa" iflag=odx of="$sb" oflag=odx bs=512 count=128 skip=0,128 seek=0,128
check 0 'the copy is the image' same
stamp copies

# As the standard has it: blocks 24 and on, 40 of them, to block 1001.
list() { printf '%b' "$1" > "$2"; }
z4='\x00\x00\x00\x00'
list "\\x00\\x1e$z4$z4$z4\\x00\\x10$z4\\x00\\x00\\x00\\x18\\x00\\x00\\x00\\x28$z4" /tmp/pt
check 0 'POPULATE TOKEN by hand' sg_raw -s 32 -i /tmp/pt "$sa" 83 10 0 0 0 0 0 0 7 7 0 0 0 20 0 0
check 0 'its token' sg_raw -r 550 -o /tmp/rrti "$sa" 84 07 0 0 7 7 0 0 0 0 0 0 2 26 0 0
{ printf '\x02\x26\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'; tail -c 512 /tmp/rrti
  printf '\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x03\xe9\x00\x00\x00\x28\x00\x00\x00\x00'; } > /tmp/wut
check 0 'WRITE USING TOKEN by hand' sg_raw -s 552 -i /tmp/wut "$sb" 83 11 0 0 0 0 0 0 7 8 0 0 2 28 0 0
part() { cmp <(dd if="$a" bs=512 skip=24 count=40 iflag=direct) <(dd if="$b" bs=512 skip=1001 count=40 iflag=direct); }
check 0 'the right blocks' part
check 0 'logout' logout
exit "$failures"
