#!/bin/sh
# Documentation that can be held to something: links lead to files, a folder's README has at
# most 40 lines, every exit code and every event is documented, tests and files that are named are there.
set -eu
cd "$(dirname "$0")/.."
found=$(mktemp)
trap 'rm -f "$found"' EXIT

for page in $(.ci/sources '*.md'); do
    grep -oE '\]\([^)]+\)' "$page" | sed -E 's/^\]\(//; s/\)$//; s/#.*//' | sort -u |
        while read -r link; do
            case $link in
            '' | http://* | https://*) ;;
            *) [ -e "$(dirname "$page")/$link" ] || echo "$page: $link leads nowhere" ;;
            esac
        done >>"$found"
done
for page in $(.ci/sources '*/README.md'); do
    lines=$(wc -l <"$page")
    [ "$lines" -le 40 ] || echo "$page: $lines lines, the limit is 40" >>"$found"
done
sed -nE 's/^ +EXIT_[A-Z_]+ = ([0-9]+),.*/\1/p' launch/exit_code.h | while read -r code; do
    grep -q "^| $code |" docs/exit_codes.md || echo "docs/exit_codes.md: $code is missing"
done >>"$found"
.ci/sources 'launch/*.c' | xargs sed -nE 's/.*metrics_event\([^"]*"([^"]+)".*/\1/p' | sort -u |
    while read -r event; do
        grep -q "^| \`$event\` |" docs/files.md || echo "docs/files.md: $event is missing"
    done >>"$found"
sed -nE '/table of events: begin/,/table of events: end/s/.*\| ([a-z_. ]+) \|$/\1/p' docs/launching.md |
    tr ' ' '\n' | sort -u | while read -r test; do
        case $test in
        cli.*) line="offramp_cli(${test#cli.}[ )]" ;;
        cluster.*) line="offramp_on_cluster(cluster ${test#cluster.})" ;;
        *) line="offramp_test(unit ${test#unit.} " ;;
        esac
        [ "$test" = test ] || grep -q "$line" tests/CMakeLists.txt ||
            echo "docs/launching.md: there is no test $test"
    done >>"$found"
sed -nE 's/^RULE\(.*"unit\.([a-z_]+)"\)$/\1/p' exits/exits_rule.def | sort -u | while read -r test; do
    grep -q "offramp_test(unit $test " tests/CMakeLists.txt || echo "exits/exits_rule.def: there is no test unit.$test"
done >>"$found"
sed -nE 's/^SOLVER\([A-Z_]+, "[a-z]+", [A-Z]+, "([a-z_.]+)".*/\1/p' exits/exits_rule.def | sort -u | while read -r file; do
    [ -e "exits/$file" ] || echo "exits/exits_rule.def: there is no exits/$file"
done >>"$found"

if [ -s "$found" ]; then
    cat "$found"
    exit 1
fi
echo "docs: ok"
