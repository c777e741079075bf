#!/bin/sh
# Build the image for an environment, test it there, write the report, and compare with earlier runs.
#
#   ci/lab.sh qemu                        as in a merge
#   ci/lab.sh qemu --xtest full           pass further options to pytest
#   LG_DEPLOY=… ci/lab.sh rpi3            test an image that was built elsewhere
#   TZML_RESULTS=… ci/lab.sh rpi3         keep runs and history there; in CI, also copy this run to results/
#
# Exit code: pytest's (docs/lab.md lists the classes of failure); 14 if all tests passed but something got worse.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || {
	sed -n 's/^# \{0,1\}//p' "$0" >&2
	exit 2
}
environment=$1
shift
results=${TZML_RESULTS:-results}
tzml=.venv/bin/tzml

tools/bootstrap
if [ -z "${LG_DEPLOY:-}" ]; then
	machines=$($tzml lab images "$environment")
	for machine in $machines; do
		.venv/bin/kas build "kas/$machine.yml" || exit 10
	done
fi

before=$(readlink "$results/latest" || true)
status=0
.venv/bin/pytest lab --lg-env "$environment" --results "$results" "$@" || status=$?
run=$(readlink "$results/latest" || true)
if [ "$run" = "$before" ]; then
	echo "ci/lab.sh: the run left no results" >&2
	[ $status != 0 ] || status=11
	exit $status
fi
run=$results/$run

# A run that did not finish has no figures, but its consoles are kept.
if [ -e "$run/results.json" ] && [ -e "$run/junit.xml" ]; then
	$tzml report "$run" -o "$run/report.html"
	$tzml results export "$run" --format bencher -o "$run/bencher.json"
	$tzml results export "$run" --format github-action-benchmark -o "$run/github-action-benchmark.json"
	worse=0
	$tzml results check "$run" || worse=$?
	[ $status != 0 ] || status=$worse
fi
if [ "$results" != results ] && [ -n "${CI:-}" ]; then # the runner keeps them elsewhere; CI uploads this copy
	mkdir -p results
	cp -r "$run" "$results/history.jsonl" results/
fi
exit $status
