#!/bin/bash
# Test a real board of the lab: reserve and lock its place, flash it, test it, and always power it off and unlock the
# place. Then report and compare, as in ci/lab.sh.
#
#   LG_COORDINATOR=lab:20408 ci/board.sh rpi3 [pytest options]
#   BOARD_JOB=… ci/board.sh rpi3          run this command instead of ci/lab.sh, with the same arguments
#
# Exit code: that of ci/lab.sh, or 11 (infrastructure) if the place cannot be released.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || {
	sed -n 's/^# \{0,1\}//p' "$0" >&2
	exit 2
}
board=$1
shift
# a user of its own: everything that this user holds belongs to this job, not to a person
export LG_USERNAME=ci-$board

tools/bootstrap
ci/release-places.sh "$LG_USERNAME" # left over from a night in which the power failed

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
