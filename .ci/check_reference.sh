#!/bin/sh
# check_reference.sh OFFRAMP: fails if docs/configuration.md is not what this program prints.
set -eu
reference=$(dirname "$0")/../docs/configuration.md
if ! "$1" config --reference | diff -u "$reference" -; then
    echo "docs/configuration.md is stale: make docs" >&2
    exit 1
fi
echo "reference: ok"
