#!/usr/bin/env bash
# usage: scripts/kernelshark-picture.sh [PICTURE]
#
# Makes docs/kernelshark.png: a boot, recorded in virtual time and shown by KernelShark under Xvfb. On
# Debian it takes the packages kernelshark, xvfb, xdotool and imagemagick.
set -euo pipefail
cd "$(dirname "$0")/.."
picture=$(realpath -m "${1:-docs/kernelshark.png}")
main=dist/daemon/main.js

for tool in trace-cmd kernelshark xvfb-run xdotool import; do
  command -v "$tool" > /dev/null || { echo "kernelshark-picture: no $tool" >&2; exit 69; }
done

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# KernelShark takes a time of 0 for no event, so some time goes by first.
# shellcheck disable=SC2016 # for the shell that runs it
node "$main" exec --scenario boot --seed 7 --virtual -- sh -c '
  echo "advance 1us" > /sys/kernel/tracing/sim/clock
  exec trace-cmd record -q -b 4096 -e hypervisor -o "$1" test/support/advance.sh 5ms' - "$dir/boot.dat"

# Of a session of its own, with nothing remembered. As root KernelShark would first warn of that.
cat > "$dir/show.sh" << 'END'
set -euo pipefail
kernelshark --cpu 0,1 --pid 1024,2048 boot.dat &
shown() { xdotool search --onlyvisible --name '^Kernel ?Shark'; }
until window=$(shown); do sleep 0.2; done
sleep 2 # It says nowhere when it has loaded the file, and when all is drawn.
xdotool windowmove "$window" 0 0 windowsize "$window" 1200 900
sleep 2
import -window root picture.png
kill %1
END
chmod -R a+rwX "$dir"
as_user=()
[ "$(id -u)" -ne 0 ] || as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
(
  cd "$dir"
  export HOME=$dir XDG_RUNTIME_DIR=$dir LIBGL_ALWAYS_SOFTWARE=1 XAUTHORITY=
  "${as_user[@]}" xvfb-run -a -s '-screen 0 1200x900x24' bash show.sh 2> log || { cat log >&2; exit 1; }
)
convert "$dir/picture.png" -colors 64 "PNG8:$picture"
