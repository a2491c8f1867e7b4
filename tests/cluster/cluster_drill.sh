#!/bin/sh
# `offramp drill` on a virtual cluster: nodes that lose power, are cut off and frozen, with a spare.
. "$(dirname "$0")/cluster_run.sh"

up 1 # skips where that cannot be
vc down
trap - EXIT

code=0
"$build/offramp" drill --cluster virtual --vcluster ./nothing -n 3 --output-dir drill --kill rank=1@step=80 \
    -- train "$source/tests/cli/tiny.yaml" >out 2>err || code=$?
same "exit code where there is no vcluster" "$code" 66
grep -q "^offramp: .*--vcluster ./nothing: No such file" err || fail "$(cat err)"

# By a path from here: mpirun would look for the agent beside it elsewhere.
ln -s "$vcluster" here
code=0
"$build/offramp" drill --cluster virtual --vcluster ./here --share "$source" --share "$build" \
    -n 3 --spares 1 --output-dir drill \
    --power node=2@step=60 --cut node=3@step=60 --freeze node=1@step=70 --kill rank=1@step=80 \
    -- train "$source/tests/cli/tiny.yaml" --set data_dir="$data" --set train_batch_size=48 \
    --set num_steps=100 --set timing_samples=0 --set save_steps=0 --set snapshot_steps=1 \
    --set collective_deadline_ms=10000 >out 2>err || code=$?
[ $code = 0 ] || fail "ended with $code: $(cat out err)"
for line in "--power node=2@step=60: node n2 lost power" "--cut node=3@step=60: node n3 was cut off" \
    "--freeze node=1@step=70: node n1 was frozen" "--kill rank=1@step=80: rank 1 (process"; do
    grep -q "^$line.*noticed after.*next step after" out || fail "not in: $(cat out err)"
done
grep -q "^PASSED: 4 of 4 runs with 4 faults .*; virtual nodes" out || fail "$(cat out)"
for left in "$VCLUSTER_STATE"/*; do
    [ ! -e "$left" ] || fail "a cluster is left: $left"
done
