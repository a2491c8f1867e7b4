#!/bin/sh
# Documentation that can be held to something: links lead to files, a folder's README has at
# most 40 lines, every exit code and every event is documented.
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

if [ -s "$found" ]; then
    cat "$found"
    exit 1
fi
echo "docs: ok"
