#!/bin/bash
# raceout.sh ./fsm ./cluster: of these packages, prints for go test -skip the tests that make race leaves out: those with //race:out above them. They are
# long and do one thing after the other, where the race detector can find nothing, or what runs at once in
# them does so in another test as well. Other tests with such a name would be left out with them, so there may be none.
set -euo pipefail
cd "$(dirname "$0")/.."

files=$(find "$@" -maxdepth 1 -name '*_test.go')
names=$(grep -h -A1 '^//race:out$' $files | sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' | sort)
marks=$(grep -h '^//race:out$' $files | wc -l)
[ "$(wc -w <<<"$names")" -eq "$marks" ] || { echo "raceout: there are $marks //race:out, and not as many tests below them: put it directly above func Test..." >&2; exit 1; }
for name in $names; do
	[ "$(grep -l "^func $name(" $files | wc -l)" -eq 1 ] || { echo "raceout: $name is in two packages, and both would be left out: give one another name" >&2; exit 1; }
done
echo "^($(tr '\n' '|' <<<"$names" | sed 's/|$//'))\$"
