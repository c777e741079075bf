#!/bin/sh
# As probe.py, on a target without Python: says what tzml-run says of bundles that are wrong.
#
# usage: probe.sh WORLD SOUND INPUT <PATHS
#
# PATHS are those of the bundles, one a line. After each group of 16, the SOUND bundle is run. Of each bundle, prints
# a line: yes or no, for whether the SOUND one then answered as ever, tzml-run's exit status, and what it said.
world=$1 sound=$2 input=$3
answer=$(tzml-run -w "$world" "$sound" "$input" - 2>/dev/null | sha256sum)
said=$(mktemp)
trap 'rm -f "$said"' EXIT

tell() {
	[ -s "$said" ] || return
	works=no
	[ "$(tzml-run -w "$world" "$sound" "$input" - 2>/dev/null | sha256sum)" = "$answer" ] && works=yes
	sed "s/^/$works /" "$said"
	: >"$said"
}

number=0
while read -r bundle; do
	line=$(tzml-run -w "$world" "$bundle" "$input" /dev/null 2>&1)
	echo "$? $line" >>"$said"
	number=$((number + 1))
	[ $((number % 16)) != 0 ] || tell
done
tell
