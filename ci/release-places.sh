#!/bin/bash
# Power off and unlock every labgrid place that a user of this host holds, and cancel the user's reservations. This cleans
# up after a job that was killed. The lab itself releases its place however a run ends, if it gets the chance.
#
#   ci/release-places.sh ci-rpi3
#
# Exit code 11 (infrastructure) if a place cannot be powered off or unlocked, or the coordinator cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# = 1 ] || {
	sed -n 's/^# \{0,1\}//p' "$0" >&2
	exit 2
}
export LG_USERNAME=$1 LG_HOSTNAME=${LG_HOSTNAME:-$(uname -n)}
client=.venv/bin/labgrid-client

# Place 'pi-1':
#   acquired: host/user
places=$($client --verbose places --acquired) || exit 11
places=$(echo "$places" | awk -v holder="$LG_HOSTNAME/$LG_USERNAME" -F"'" \
	'/^Place / { place = $2 } $0 == "  acquired: " holder { print place }')
# Reservation 'TOKEN':
#   owner: host/user
reservations=$($client reservations) || exit 11
reservations=$(echo "$reservations" | awk -v owner="$LG_HOSTNAME/$LG_USERNAME" -F"'" \
	'/^Reservation / { token = $2 } $0 == "  owner: " owner { print token }')

status=0
for place in $places; do
	echo "$LG_USERNAME still holds $place: switching it off and releasing it"
	$client -p "$place" power off || status=11
	$client -p "$place" unlock || status=11
done
for token in $reservations; do
	$client cancel-reservation "$token" || true # it may just have expired
done
exit $status
