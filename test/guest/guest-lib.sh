# guest-lib.sh - shell functions for test scripts; start yours with:  . /guest-lib.sh
failures=0
check_output=$(mktemp)

# stamp TEXT: one time stamp line in the log
stamp() { local up _; read -r up _ < /proc/uptime; echo "@@T $up $*"; }

# check STATUS NAME COMMAND...: run COMMAND, expect exit status STATUS; prints its output only when that fails
check() {
  local want=$1 name=$2 rc; shift 2
  "$@" > "$check_output" 2>&1; rc=$?
  if [ "$rc" = "$want" ]; then echo "@@OK $name"; return 0; fi
  echo "@@BAD $name: status $rc, expected $want: $*"; head -n 20 "$check_output" | sed 's/^/    /'
  failures=$((failures + 1)); return 1
}

# wait_for SECONDS COMMAND...: retry COMMAND until it succeeds
wait_for() {
  local i=0 n=$(($1 * 10)); shift
  until "$@" > /dev/null 2>&1; do i=$((i + 1)); [ $i -le $n ] || return 1; usleep 100000; done
}

# host NAME: have the host run the function NAME of its test and wait for it; status 1 when that failed
host() {
  local word name rc
  echo "@@HOST $1" > /dev/console        # whatever standard output is redirected to
  while read -r word name rc; do
    if [ "$word" = "done" ] && [ "$name" = "$1" ]; then return "$rc"; fi
  done
  return 1
}

# start_initiator: kernel modules, udev and iscsid
start_initiator() {
  local m; for m in iscsi_tcp sd_mod sg; do modprobe "$m" || return 1; done
  udevd --daemon && udevadm trigger --action=add && udevadm settle && iscsid
}

# login IQN PORTAL...: one session per portal.  The records are made by hand instead of by discovery, because a
# target's discovery answer names the address it listens on (127.0.0.1), which is not 10.0.2.2.
login() {
  local iqn=$1 p; shift
  for p in "$@"; do
    iscsiadm -m node -o new -T "$iqn" -p "$p" > /dev/null && iscsiadm -m node -T "$iqn" -p "$p" --login || return 1
  done
  udevadm settle
}

# logout: end all sessions
logout() { iscsiadm -m node --logoutall=all; }

# iscsi_disks: block devices that came through iSCSI, one a line
iscsi_disks() { lsscsi -t | awk '$2 == "disk" && $3 ~ /^iqn/ && $NF ~ /^\/dev/ {print $NF}'; }

# node_setting IQN PORTAL NAME VALUE: changes the node record before or between logins
node_setting() { iscsiadm -m node -T "$1" -p "$2" -o update -n "$3" -v "$4"; }

# node_record IQN PORTAL: makes the node record
node_record() { iscsiadm -m node -o new -T "$1" -p "$2" > /dev/null; }

# says WORDS COMMAND...: succeeds when COMMAND does and its output contains WORDS; prints that output
says() {
  local words=$1 out rc; shift
  out=$("$@" 2>&1); rc=$?
  printf '%s\n' "$out"
  [ $rc = 0 ] && grep -qF -- "$words" <<< "$out"
}
