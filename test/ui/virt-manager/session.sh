#!/bin/sh
# A desktop session with virt-manager in it, and the script that works it. usage: dbus-run-session sh session.sh URI DRIVER (with DISPLAY and HOME set)
set -eu
export GTK_MODULES=gail:atk-bridge NO_AT_BRIDGE=0 GDK_BACKEND=x11 LANG=C.UTF-8
gsettings set org.gnome.desktop.interface toolkit-accessibility true
/usr/libexec/at-spi-bus-launcher --launch-immediately > /dev/null 2>&1 &
launcher=$!
openbox > /dev/null 2>&1 &
desktop=$!
virt-manager --no-fork --connect "$1" --show-host-summary &
manager=$!
status=0
/usr/bin/python3 "$2" || status=$?
# Whatever of them goes on holds our output open.
kill "$manager" "$desktop" "$launcher" 2> /dev/null || true
wait "$manager" 2> /dev/null || true
exit "$status"
