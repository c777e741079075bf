#!/bin/bash
# Power off and unlock the place that ci/with-place.sh took, and give its reservation back.
# Does nothing when that was done; for jobs that were killed. Exit code 11 when it does not succeed.
set -euo pipefail
cd "$(dirname "$0")/.."
export LG_HOSTNAME=${LG_HOSTNAME:-$(uname -n)} LG_USERNAME=${LG_USERNAME:-$(id -un)}
client=.venv/bin/labgrid-client
file=${TZML_PLACE_FILE:-${XDG_CACHE_HOME:-$HOME/.cache}/tzml/ci-place}
[ -e "$file" ] || exit 0

place=$(sed -n 's/^place //p' "$file")
token=$(sed -n 's/^token //p' "$file")
status=0
holder=
[ -z "$place" ] || holder=$($client -p "$place" show | sed -n 's/^  acquired: //p') || exit 11
if [ "$holder" = "$LG_HOSTNAME/$LG_USERNAME" ]; then
	$client -p "$place" power off || {
		echo "ci/release-place.sh: $place cannot be powered off; it is unlocked all the same" >&2
		status=11
	}
	$client -p "$place" unlock || status=11
fi
# a reservation that has expired is as good as cancelled
[ -z "$token" ] || $client cancel-reservation "$token" 2>/dev/null || true
[ $status != 0 ] || rm -f "$file"
exit $status
