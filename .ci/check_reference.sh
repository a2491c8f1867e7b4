#!/bin/sh
# check_reference.sh OFFRAMP: fails if docs/configuration.md or docs/exit_rules.md is not what this program prints.
set -eu
docs=$(dirname "$0")/../docs
check() { # check PAGE OPTION
    if ! "$offramp" config "$2" | diff -u "$docs/$1" -; then
        echo "docs/$1 is stale: make docs" >&2
        exit 1
    fi
}
offramp=$1
check configuration.md --reference
check exit_rules.md --rules
echo "reference: ok"
