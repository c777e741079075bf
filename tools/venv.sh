# shellcheck shell=sh
# Read by tools/bootstrap and tools/test-frontends, which define `die` and run in the checkout's folder.

# make_venv FOLDER LOG REQUIREMENTS…: make a Python environment with these requirements, each a list of arguments for
# pip, and this project, editable. A different Python or different requirements make a new environment. If only the
# project's own metadata has changed, only the project is installed again.
make_venv() {
	folder=$1 log=$2
	shift 2
	exec 9<. # one at a time, in each checkout
	flock --nonblock 9 || {
		say "waiting for another process that makes a Python environment here"
		flock 9
	}
	python=${PYTHON:-python3}
	"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
		die "Python 3.11 or newer is needed; $python is older or missing (set PYTHON=…)"
	packages=$({
		"$python" -VV
		echo "$@"
		echo "$*" | tr ' ' '\n' | while read -r word; do [ ! -f "$word" ] || cat "$word"; done
	} | sha256sum | cut -d' ' -f1)
	project=$(cat pyproject.toml setup.py | sha256sum | cut -d' ' -f1)
	stamp=$(cat "$folder/tzml-stamp" 2>/dev/null || true)
	# its commands begin with the interpreter's path: in a checkout that was moved or copied, they are another's
	interpreter=$(sed -n '1s/^#!//p' "$folder/bin/pip" 2>/dev/null || true)
	[ "$(dirname "$interpreter")" -ef "$folder/bin" ] || stamp=""
	[ "$stamp" != "$packages $project" ] || return 0
	mkdir -p "$(dirname "$log")"
	: >"$log"
	if [ "${stamp% *}" != "$packages" ]; then
		say "making the Python environment $folder (some minutes)"
		rm -rf "$folder"
		"$python" -m venv "$folder" >>"$log" 2>&1 || pip_failed
		for requirements; do
			# shellcheck disable=SC2086 # a list
			"$folder/bin/pip" install --no-deps $requirements >>"$log" 2>&1 || pip_failed
		done
	fi
	"$folder/bin/pip" install --no-deps --no-build-isolation --editable . >>"$log" 2>&1 || pip_failed
	echo "$packages $project" >"$folder/tzml-stamp"
}

pip_failed() {
	grep -E '^ERROR' "$log" >&2 || tail -n 5 "$log" >&2
	die "pip failed; the full log is $log"
}
