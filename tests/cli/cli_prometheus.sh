#!/bin/sh
# The setting `prometheus_file`: promtool finds nothing to say about the file, its values are those of metrics.jsonl
# and events.jsonl, and whoever reads it while it is written finds a whole one.
. "$(dirname "$0")/cli_run.sh"

value_of() { # value_of FILE SERIES: what follows it
    sed -n "s/^$(printf '%s' "$2" | sed 's/[].[\\*^$/]/\\&/g') //p" "$1"
}
linted() { # linted FILE
    ! command -v promtool >/dev/null || promtool check metrics <"$1" >lint 2>&1 || fail "promtool: $(cat lint)"
    [ ! -s lint ] || fail "promtool: $(cat lint)"
}
number() { # number JSON: as the file has it
    printf '%.17g' "$1"
}

# Values, of a folder whose name must be escaped.
odd="$scratch/a\"b\\c"
train_well 1 "$odd" --set prometheus_file=metrics.prom --set logging_steps=30 --set snapshot_steps=5 --set timing_samples=0
file=$odd/metrics.prom
linted "$file"
run='run="'$(printf '%s' "$odd" | sed 's/[\\"]/\\&/g')'"'
same "step" "$(value_of "$file" "offramp_step{$run}")" 200
same "samples" "$(value_of "$file" "offramp_samples_total{$run}")" $((200 * 32))
same "restarts" "$(value_of "$file" "offramp_restarts_total{$run}")" 0
same "snapshots" "$(value_of "$file" "offramp_snapshots_total{$run}")" "$(grep -c snapshot.committed "$odd/events.jsonl")"
stall=$(sed -n 's/.*"stall_s":\([^,]*\),.*snapshot.committed.*/\1/p' "$odd/events.jsonl" | awk '{ sum += $1 } END { print sum }')
value_of "$file" "offramp_snapshot_stall_seconds_total{$run}" |
    awk -v stall="$stall" '{ exit !($1 - stall < 1e-5 * stall && stall - $1 < 1e-5 * stall) }' ||
    fail "stall: $(grep ^offramp_snapshot_stall "$file"), expected $stall"
line=$(grep '^{"step":180,' "$odd/metrics.jsonl")
field() { # field KEY: of that line
    printf '%s' "$line" | sed "s/.*[{,]\"$1\":\([^,}]*\)[,}].*/\1/"
}
same "samples a second" "$(value_of "$file" "offramp_samples_per_second{$run}")" "$(number "$(field samples_per_s)")"
same "learning rate of gates" "$(value_of "$file" "offramp_learning_rate{$run,group=\"gates\"}")" \
    "$(number "$(field gate_learning_rate)")"
second=$(printf '%s' "$line" | sed 's/.*"lambda":0.40*[0-9]*,"loss":\[[^,]*,\([^,]*\),.*/\1/')
same "loss of exit 2 at lambda 0.4" "$(value_of "$file" "offramp_loss{$run,lambda=\"0.4\",exit=\"2\"}")" "$(number "$second")"
same "shares of both lambdas" "$(grep -c '^offramp_exit_share_ratio{' "$file")" 6

# A backbone alone; gone on with, elsewhere, while somebody reads. The bits are those of a run without.
train_well 1 part --set prometheus_file=metrics.prom --max-steps 40 --set logging_steps=1 --set timing_samples=0
linted part/metrics.prom
same "exits of a backbone" "$(grep -c lambda part/metrics.prom)" 0
mkdir collector
(
    while [ ! -e read.enough ]; do
        cat collector/run.prom 2>/dev/null >copy.prom || continue
        [ ! -s copy.prom ] || [ "$(tail -c 1 copy.prom | od -An -tx1)" = " 0a" ] || echo "half a file" >>half
        ! grep -q offramp_run_info copy.prom || grep -q '^offramp_gradient_norm' copy.prom || echo "half" >>half
    done
) &
reader=$!
train_well 2 part --set prometheus_file="$scratch/collector/run.prom" --set logging_steps=1 --set timing_samples=0
: >read.enough
wait $reader
[ ! -e half ] || fail "a reader found $(wc -l <half) files that were not whole"
linted collector/run.prom
grep -q '^offramp_restarts_total{.*} 1$' collector/run.prom || fail "restarts: $(grep restarts collector/run.prom)"
same "left beside it" "$(ls collector)" run.prom
train_well 1 plain --set timing_samples=0
same "state with the file" "$(hash_of part)" "$(hash_of plain)"
[ ! -e plain/metrics.prom ] || fail "a file nobody asked for"

# It cannot be written at all: told at once; not any more: training goes on.
code=0
train 1 refused --set prometheus_file=/nowhere/run.prom || code=$?
same "code where there is no folder" $code 74
same "lines on stderr: $(cat refused.err)" "$(wc -l <refused.err)" 1
grep -q '^offramp: prometheus_file: /nowhere/run.prom' refused.err || fail "$(cat refused.err)"

if ! command -v promtool >/dev/null; then
    echo "SKIPPED: promtool (Debian's prometheus) is not installed: the format was not checked" >&2
    exit 77
fi
