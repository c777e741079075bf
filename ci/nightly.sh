#!/bin/sh
# The hosted part of the nightly run: all of xtest and the inference suite on everything that needs no board.
#
#   ci/nightly.sh                         all environments
#   ci/nightly.sh qemu rpi3-emulated      only these
#
# Exit code: that of the first environment that failed. The others still run.
set -eu
cd "$(dirname "$0")/.."
tzml=.venv/bin/tzml
tools/bootstrap
if [ $# = 0 ]; then
	environments=$($tzml lab environments --nightly)
	# shellcheck disable=SC2086 # a list of names
	set -- $environments
fi
status=0
for environment in "$@"; do
	echo "== $environment"
	code=0
	case $environment in
	*-counted) ci/lab.sh "$environment" --networks full -k "test_partition or test_pipeline_costs or test_sealed_costs or test_cipher_costs or test_serve" || code=$? ;; # slow, and good for nothing else
	*) ci/lab.sh "$environment" --xtest full -m 'full or not full' || code=$? ;;
	esac
	if [ "$($tzml lab images "$environment" | wc -l)" -gt 1 ]; then
		# nothing here can boot the board's own image, so its files are read back and written to a stand-in
		.venv/bin/pytest tests/build tests/lab --bench -m boards || code=$?
	fi
	[ $code = 0 ] || echo "== $environment failed with exit code $code"
	[ $status != 0 ] || status=$code
done
exit $status
