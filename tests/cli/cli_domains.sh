#!/bin/sh
# failure_domains: copies are spread over the racks that the file tells, and a rack may be lost. What it
# says wrong, and what the nodes cannot keep to, is refused.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
steps="--set num_steps=20 --set save_steps=0 --set hash_steps=10"
# shellcheck disable=SC2086
train_well 1 straight $steps
steps="$steps --set snapshot_steps=1 --set failure_domains=racks.txt
    --set snapshot_data_members=1 --set snapshot_parity_members=1"
printf '# two racks\nnode0 a\nnode1 b\nnode2 a\nnode3 b\n' >racks.txt

OFFRAMP_FAULT=snap.after_commit@1#9=kill nodes 4 racks --set snapshot_min_domains=1
[ $code != 0 ] || fail "nothing died"
if grep -q "no fault points" racks.err; then
    echo "SKIPPED: no fault points in this build" >&2
    exit 77
fi
grep -q "^snapshots survive the loss of any 1 of 4 nodes; any 1 of 2 domains$" racks.out ||
    fail "$(cat racks.out)"
grep "does not name" racks.err && fail "a host that is named was told as one that is not"
rm -rf "$memory/node0" "$memory/node2"
nodes 4 racks --set snapshot_min_domains=1
[ $code = 0 ] || fail "$(cat racks.err)"
grep -q "^resumed from memory at step" racks.out || fail "not from memory: $(cat racks.out)"
same "state after the loss of a rack" "$(hash_of racks)" "$(hash_of straight)"

# Asked for more than the nodes can keep to.
nodes 4 more --set snapshot_min_domains=2
same "exit code" $code 78
grep -q "any 2 domains is to be survived, but what is survived is that of any 1 of 4 nodes; any 1 of 2 domains" \
    more.err || fail "$(cat more.err)"

# A node that is not named is told once, and a domain of its own.
printf 'node0 a\nnode1 b\nnode2 a\n' >racks.txt
nodes 4 unnamed
[ $code = 0 ] || fail "$(cat unnamed.err)"
same "lines of hosts that are not named" "$(grep -c "racks.txt does not name .* rank 3 of 1" unnamed.err)" 1
grep -q "^snapshots survive the loss of any 1 of 4 nodes; any 1 of 3 domains$" unnamed.out ||
    fail "$(cat unnamed.out)"

printf 'node0 a\nnode1 b c\n' >racks.txt
nodes 4 malformed
same "exit code" $code 78
grep -q 'racks.txt: line 2: "node1 b c" is not HOST DOMAIN' malformed.err || fail "$(cat malformed.err)"
rm racks.txt
nodes 4 missing
same "exit code" $code 66
grep -q "failure_domains: racks.txt" missing.err || fail "$(cat missing.err)"
