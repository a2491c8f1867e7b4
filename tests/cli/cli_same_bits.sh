#!/bin/sh
# The state after every 10 steps is the same for 1, 2 and 4 ranks, in all kinds of stages:
# backbone, exits on cached features, exits behind augmented images, and joint.
. "$(dirname "$0")/cli_run.sh"

for ranks in 1 2 4; do
    train_well $ranks ranks$ranks
    same "world size" "$(value ranks$ranks/summary.json world_size)" $ranks
    same "steps" "$(value ranks$ranks/summary.json step)" 200
    hashes_of ranks$ranks >hashes$ranks
    same "hashes of $ranks ranks" "$(wc -l <hashes$ranks)" 20
    same "the last hash" "$(tail -n 1 hashes$ranks)" "200 $(hash_of ranks$ranks)"
    cmp hashes1 hashes$ranks || fail "1 and $ranks ranks differ"
done
same "different hashes" "$(sort -u -k 2 hashes1 | wc -l)" 20
for stage in backbone exits joint; do
    grep -q "\"stage\":\"$stage\"" ranks1/metrics.jsonl || fail "no stage $stage"
done

# Where features are kept changes nothing: in memory above, none or in a file here.
for cache in none file; do
    train_well 2 $cache --set feature_cache=$cache
    hashes_of $cache | cmp - hashes1 || fail "feature_cache $cache gives another state"
done
ls file/features-*.bin >/dev/null || fail "no file of features"

# Which layers a micro-batch leaves out is drawn for the run, not for a rank.
for ranks in 1 2; do
    train_well $ranks dropped$ranks --set layer_dropout=0.5
    hashes_of dropped$ranks >dropped_hashes$ranks
done
cmp dropped_hashes1 dropped_hashes2 || fail "layer_dropout: 1 and 2 ranks differ"
same "states that layer_dropout leaves as they were" "$(grep -cxFf hashes1 dropped_hashes1)" 0
