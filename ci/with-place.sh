#!/bin/bash
# Reserve a labgrid place, lock it, run a command with LG_PLACE set, and always power off and unlock.
#
#   LG_COORDINATOR=lab:20408 ci/with-place.sh board=rpi3 -- ci/lab.sh rpi3-remote --xtest full
#
# The words before `--` are tags of the place. Waits for a free one for LAB_WAIT seconds (an hour).
# Exit code: the command's, or 11 (infrastructure) when there is no place or it cannot be released.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() {
	sed -n 's/^# \{0,1\}//p' "$0" >&2
	exit 2
}
client=.venv/bin/labgrid-client
export LG_HOSTNAME=${LG_HOSTNAME:-$(uname -n)} LG_USERNAME=${LG_USERNAME:-$(id -un)} # who has the place
export TZML_PLACE_FILE=${TZML_PLACE_FILE:-${XDG_CACHE_HOME:-$HOME/.cache}/tzml/ci-place}

filters=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	filters+=("$1")
	shift
done
[ ${#filters[@]} -gt 0 ] && [ $# -gt 1 ] || usage
shift

tools/bootstrap
ci/release-place.sh || exit 11 # of a job that was killed

child=
# shellcheck disable=SC2329 # the trap calls it
finish() {
	status=$?
	trap '' INT TERM HUP
	if [ -n "$child" ]; then
		kill -TERM "$child" 2>/dev/null || true # pytest powers off and writes its results
		wait "$child" || true
	fi
	ci/release-place.sh || status=11
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
no_place() {
	echo "ci/with-place.sh: no place with ${filters[*]} could be had within ${LAB_WAIT:-3600} s" >&2
	exit 11
}

mkdir -p "$(dirname "$TZML_PLACE_FILE")"
reservation=$($client reserve --shell "${filters[@]}") || no_place
export LG_TOKEN=${reservation##*=}
echo "token $LG_TOKEN" >"$TZML_PLACE_FILE"
echo "waiting for a place with ${filters[*]}"
timeout "${LAB_WAIT:-3600}" $client wait "$LG_TOKEN" >/dev/null &
wait $! || no_place
LG_PLACE=$($client -p + show | sed -n "s/^Place '\(.*\)':$/\1/p") || no_place
export LG_PLACE
echo "place $LG_PLACE" >>"$TZML_PLACE_FILE"
$client -p "$LG_PLACE" lock || no_place

"$@" &
child=$!
status=0
wait "$child" || status=$?
child=
exit "$status"
