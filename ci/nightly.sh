#!/bin/sh
# The hosted part of a night: all of xtest and the inference suite on everything that needs no board.
#
#   ci/nightly.sh                         all environments
#   ci/nightly.sh qemu rpi3-emulated      these
#
# Exit code: that of the first environment that failed; the others run all the same.
set -eu
cd "$(dirname "$0")/.."
tzml=.venv/bin/tzml
tools/bootstrap
if [ $# = 0 ]; then
	environments=$($tzml lab environments --nightly)
	# shellcheck disable=SC2086 # one word a name
	set -- $environments
fi
status=0
for environment in "$@"; do
	echo "== $environment"
	code=0
	ci/lab.sh "$environment" --xtest full || code=$?
	if [ "$($tzml lab images "$environment" | wc -l)" -gt 1 ]; then
		# nothing here boots the board's own image: its files are read back, and written to a stand-in
		.venv/bin/pytest tests/build tests/lab --bench -m boards || code=$?
	fi
	[ $code = 0 ] || echo "== $environment failed with exit code $code"
	[ $status != 0 ] || status=$code
done
exit $status
