#!/bin/bash
# Test a real board of the lab: the place is reserved and locked, flashed, tested, and always powered off and
# unlocked; then report and comparison, as in ci/lab.sh.
#
#   LG_COORDINATOR=lab:20408 ci/board.sh rpi3 [pytest options]
#   BOARD_JOB=… ci/board.sh rpi3          run that instead of ci/lab.sh, with the environment and the options
#
# Exit code: that of ci/lab.sh, or 11 (infrastructure) when the place cannot be given back.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || {
	sed -n 's/^# \{0,1\}//p' "$0" >&2
	exit 2
}
board=$1
shift
# a user of its own: what it holds is this job's, and no person's
export LG_USERNAME=ci-$board

tools/bootstrap
ci/release-places.sh "$LG_USERNAME" # of a night that the power failed in

child=
# shellcheck disable=SC2329 # the trap calls it
finish() {
	status=$?
	trap '' INT TERM HUP
	if [ -n "$child" ]; then
		kill -TERM "$child" 2>/dev/null || true
		wait "$child" || true
	fi
	ci/release-places.sh "$LG_USERNAME" || status=11
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

${BOARD_JOB:-ci/lab.sh} "$board-remote" "$@" &
child=$!
status=0
wait "$child" || status=$?
child=
exit "$status"
