#!/bin/sh
# `offramp launch` over the nodes of a virtual cluster, 4 and a spare, 2+2: they lose power, are killed, cut
# off, frozen, and come back, and ranks die; nobody helps. The run ends with the bits of one that nothing
# happened to.
. "$(dirname "$0")/cluster_run.sh"

offramp=$build/offramp
settings="--set num_steps=1000000 --set save_steps=0 --set snapshot_steps=1 --set max_eval_samples=60
    --set timing_samples=0 --set collective_deadline_ms=10000"

# launch OUT NODES_MIN ARGUMENT...: one rank on each of 4 nodes of 5.
launch() {
    out=$1 nodes_min=$2
    shift 2
    # shellcheck disable=SC2086
    exec "$vcluster" -c "$name" exec n0 "$offramp" launch -n 4 --hostfile hosts --spares 1 \
        --nodes-min "$nodes_min" --agent "$source/launch/cluster/virtual/agent" \
        --mpirun "-x OPENBLAS_NUM_THREADS" -- train "$source/tests/cli/tiny.yaml" \
        --set data_dir="$data" --output-dir "$out" $settings "$@" >"$out.out" 2>"$out.err"
}

begin() { # begin OUT NODES_MIN ARGUMENT...: and wait until it trains
    (launch "$@") &
    job=$!
    out=$1 recoveries=0
    within 30 has_steps 20
}

has_steps() { [ -e "$out/metrics.jsonl" ] && [ "$(wc -l <"$out/metrics.jsonl")" -ge "$1" ]; }
told() { # told EVENT COUNT: so often
    [ "$(grep -c "\"event\":\"$1\"" "$out/supervisor.jsonl" 2>/dev/null)" -ge "$2" ] 2>/dev/null
}
hosts_now() { sed -n 's/.*"hosts":"\([^"]*\)".*/\1/p' "$out/supervisor.jsonl" | tail -n 1; }

# recovers MILLISECONDS VERB NODE: the run is back in so much time after that befell the node, or in four times
# that where the machine is busy.
recovers() {
    limit=$1
    shift
    recoveries=$((recoveries + 1))
    from=$(now_ms)
    vc "$@"
    within 40 told job.recovered $recoveries
    took=$(($(now_ms) - from))
    echo "$*: $took ms: $(tail -n 1 "$out.err")"
    [ $took -lt $((4 * limit)) ] || fail "$*: $took ms"
}

rank_of() { # rank_of NODE: a process, as it is called there
    vc ps | sed -n "/^$1 /,/^n[0-9]* /s/^ *\([0-9]*\) . [^ ]*offramp train.*/\1/p"
}

# stop OUT: halts the run, and compares it with one that nothing happened to.
halts_with_the_same_bits() {
    for process in $(pgrep -x offramp); do
        if tr '\0' ' ' <"/proc/$process/cmdline" | grep -q "launch .*--output-dir $out " &&
            [ "$(readlink "/proc/$process/cwd")" = "$scratch" ]; then
            kill -TERM "$process"
        fi
    done
    code=0
    wait $job || code=$?
    [ $code = 75 ] || fail "$out: ended with $code: $(cat "$out.err")"
    steps=$(sed -n 's/^offramp: halted as asked after step \([0-9]*\), .*/\1/p' "$out.err")
    for run in $out straight; do
        "$offramp" train "$source/tests/cli/tiny.yaml" --set data_dir="$data" --output-dir "$run" \
            $settings --set snapshot_steps=0 --set max_steps=$((steps + 10)) >>"$run.out" 2>&1 ||
            fail "$run: $(cat "$run.out")"
    done
    same "state of $out" "$(sed -n '/"state_hash"/p' "$out/summary.json")" \
        "$(sed -n '/"state_hash"/p' straight/summary.json)"
    rm -r straight
}

up 5
for i in 1 2 3 4 5; do echo "n$i slots=2"; done >hosts
begin run 4 --set snapshot_data_members=2 --set snapshot_parity_members=2
recovers 6000 power n2
same "nodes after n2 was lost" "$(hosts_now)" n1:1,n3:1,n4:1,n5:1
vc start n2
recovers 6000 cut n3
vc heal n3
recovers 6000 freeze n4
vc thaw n4
recovers 6000 kill n1
vc start n1
recovers 2000 exec n5 kill -9 "$(rank_of n5)"
halts_with_the_same_bits

# No spare any more, then fewer nodes than ranks: the code is lowered, each node has a rank. Then too
# few: those that come back have what is missing.
begin shrinks 2 --set snapshot_data_members=2 --set snapshot_parity_members=2
vc power n5
recovers 6000 power n4
same "nodes without a spare" "$(hosts_now)" n1:2,n2:2,n3:2
grep -q "^snapshots survive the loss of any 2 of 4 nodes" shrinks.out || fail "$(cat shrinks.out)"
grep -q "^snapshots survive the loss of any process; the loss of one of the 3 nodes only" shrinks.out ||
    fail "what 4 ranks on 3 nodes survive: $(cat shrinks.out)"
vc cut n2
vc cut n3
waits() { grep -q "starting again when a node is back" shrinks.err; }
within 40 waits
vc heal n2
vc heal n3
within 40 told job.recovered 2
case $(hosts_now) in
n1:2,n2:2,n3:2) ;;
n1:1,n2:1) # n3 came a second after n2, on a busy machine
    grep -q "node n3 is back, a spare" shrinks.err || fail "n3 is not told of: $(cat shrinks.err)"
    ;;
*) fail "nodes at the end: $(hosts_now)" ;;
esac
halts_with_the_same_bits
