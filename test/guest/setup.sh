#!/bin/bash
# setup.sh - prepare a Debian guest for tests with a real Linux initiator: packages, kernel, initramfs.
#
# usage: setup.sh [--kernel cloud|full] [--dir DIR] [--no-install]
#   --kernel      which Debian kernel (default: cloud; the ALUA device handlers exist only in "full")
#   --dir DIR     work folder (default: $GEMEL_GUEST_DIR, else ${XDG_CACHE_HOME:-$HOME/.cache}/gemel-guest)
#   --no-install  never install packages, only say which are missing (exit status 3)
#
# What it leaves in the work folder (about 140 MB with the cloud kernel):
#   kernels/<package>_<version>/     the kernel package, unpacked (never installed: no hooks, no boot loader change)
#   <cloud|full>/vmlinuz             the kernel to boot
#   <cloud|full>/initramfs.cpio      the guest's whole user space
#
# Running it again changes nothing (and takes a second) as long as the packages and these scripts are unchanged.
# Everything is built aside and renamed into place, so two runs at once do no harm.
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
here=$(cd "$(dirname "$0")" && pwd)
die() { echo "setup: $*" >&2; exit 1; }

cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
dir=${GEMEL_GUEST_DIR:-${cache:-$PWD/.cache}/gemel-guest}
kernel=cloud install=1
while [ $# -gt 0 ]; do
  case $1 in
    --kernel)     kernel=${2:?}; shift ;;
    --dir)        dir=${2:?}; shift ;;
    --no-install) install=0 ;;
    -h|--help)    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *)            die "unknown option $1 (try --help)" ;;
  esac
  shift
done
case $kernel in cloud) meta=linux-image-cloud-amd64 ;; full) meta=linux-image-amd64 ;; *) die "no kernel $kernel" ;; esac
command -v dpkg-query >/dev/null || die "the guest is made of Debian packages; this is not Debian"
[ "$(dpkg --print-architecture)" = amd64 ] || die "only amd64 is supported"
[ "$(id -u)" = 0 ] || install=0

refresh_lists() { [ "$install" = 1 ] && apt-get -q -o DPkg::Lock::Timeout=600 update >/dev/null; }

# ---------------------------------------------------------------- Debian packages
# These run on the host and are also what the guest's user space is copied from.
guest_packages=(open-iscsi multipath-tools kpartx sg3-utils ddpt lsscsi dmsetup udev kmod e2fsprogs busybox-static)
missing=()
for p in qemu-system-x86 cpio "${guest_packages[@]}"; do
  case $(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null || true) in ii*) ;; *) missing+=("$p") ;; esac
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$install" = 0 ]; then
    echo "setup: missing packages; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 3
  fi
  echo "setup: installing ${missing[*]}"
  refresh_lists
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 install -y --no-install-recommends \
    "${missing[@]}" >/dev/null
fi

# ---------------------------------------------------------------- kernel package
# The meta package names the current kernel, and that name moves with every security update: never hard-code it.
# (awk reads all of its input: with pipefail, closing the pipe early would look like a failure.)
kernel_package() { apt-cache depends "$meta" 2>/dev/null | awk '$1 ~ /Depends:$/ && $2 ~ /^linux-image-[0-9]/ && !n++ {print $2}'; }
package_version() { apt-cache show --no-all-versions "$1" 2>/dev/null | awk '$1 == "Version:" && !n++ {print $2}'; }

dir=$(realpath -m "$dir"); mkdir -p "$dir/kernels"
cleanup=(); trap 'rm -rf "${cleanup[@]}"' EXIT

fetch_kernel() { # fetch_kernel PACKAGE DEST: download and unpack, then rename into place
  local tmp get=(apt-get -qq)
  tmp=$(mktemp -d "$dir/tmp.XXXXXX"); cleanup+=("$tmp")
  [ "$(id -u)" = 0 ] && get+=(-o APT::Sandbox::User=root)
  # A kernel that was superseded is gone from the mirror: refresh the lists once and try again.
  (cd "$tmp" && "${get[@]}" download "$1") || { refresh_lists && (cd "$tmp" && "${get[@]}" download "$1"); } ||
    die "cannot download $1 (refresh the package lists as root: apt-get update)"
  dpkg-deb -x "$tmp"/*.deb "$tmp/tree"
  mv -T "$tmp/tree" "$2" 2>/dev/null || [ -d "$2" ] || die "cannot create $2"
  rm -rf "$tmp"
}

package=$(kernel_package)
if [ -z "$package" ] && refresh_lists; then package=$(kernel_package); fi
[ -n "$package" ] || die "apt knows no $kernel kernel (refresh the package lists as root: apt-get update)"
tree=$dir/kernels/${package}_$(package_version "$package")
if [ ! -d "$tree" ]; then
  fetch_kernel "$package" "$tree"
  echo "setup: unpacked $package"
fi

# ---------------------------------------------------------------- initramfs
out=$dir/$kernel; mkdir -p "$out"
stamp=$({ echo "$tree"; dpkg-query -W -f '${Package} ${Version}\n' "${guest_packages[@]}" libc6 util-linux
          cat "$here/build-initramfs.sh" "$here/guest-init"; } | sha256sum)
if [ ! -e "$out/initramfs.cpio" ] || [ ! -e "$out/vmlinuz" ] || [ "$(cat "$out/stamp" 2>/dev/null)" != "$stamp" ]; then
  new=$out/initramfs.cpio.$$; cleanup+=("$new")
  "$here/build-initramfs.sh" "$tree" "$new"
  mv "$new" "$out/initramfs.cpio"
  ln -sfn "$(ls -d "$tree"/boot/vmlinuz-*)" "$out/vmlinuz"
  echo "$stamp" > "$out/stamp"
  echo "setup: built $out/initramfs.cpio ($(du -m "$out/initramfs.cpio" | cut -f1) MB)"
fi
echo "prepared $out"
