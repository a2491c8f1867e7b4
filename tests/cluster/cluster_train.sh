#!/bin/sh
# Training over nodes, with snapshots in their memory, 2+2: nodes lose power, are cut off, stand
# still, and the same command goes on, on the survivors and whoever is there, to the same bits. Where
# all nodes are lost the disk is what is left.
. "$(dirname "$0")/cluster_run.sh"

offramp=$build/offramp
settings="--set num_steps=80 --set hash_steps=10 --set save_steps=0 --set collective_deadline_ms=10000
    --set max_eval_samples=60 --set timing_samples=0"
kept="--set snapshot_steps=1 --set snapshot_data_members=2 --set snapshot_parity_members=2"

# train OUT SECONDS [ARGUMENT...]: one rank on each node of the file `nodes`, as long at most; mpirun may
# hang where it lost nodes.
train() {
    out=$1 limit=$2
    shift 2
    # shellcheck disable=SC2086
    timeout -k 1 "$limit" "$vcluster" -c "$name" exec n0 mpirun --hostfile nodes -x OPENBLAS_NUM_THREADS -x OFFRAMP_FAULT \
        "$offramp" train "$source/tests/cli/tiny.yaml" --set data_dir="$data" --output-dir "$out" \
        $settings "$@" >"$out.out" 2>"$out.err"
}

on() { # on NODE...: what is in `nodes`
    printf '%s\n' "$@" >nodes
}

hash_of() {
    sed -n 's/^  "state_hash": "\([0-9a-f]*\)".*/\1/p' "$1/summary.json"
}

has_steps() { [ -e "$1/metrics.jsonl" ] && [ "$(wc -l <"$1/metrics.jsonl")" -ge "$2" ]; }
has_checkpoint() { ls -d "$1"/checkpoint-[0-9]*[0-9] >/dev/null 2>&1; }

ranks_gone() { # ranks_gone NODE NEXT: no rank goes on in NODE
    ! vc ps | sed -n "/^$1 /,/^$2 /p" | grep -q "offramp train"
}

# lose OUT SECONDS VERB NODE...: begins OUT, and in the first stage, where a snapshot stands still, the verb
# befalls those nodes.
lose() {
    out=$1 limit=$2 verb=$3
    shift 3
    # shellcheck disable=SC2086
    OFFRAMP_FAULT="snap.after_commit@1#20=stall:60000" train "$out" $((limit + 6)) $kept $more &
    job=$!
    within 20 has_steps "$out" 20
    [ -z "$more" ] || within 20 has_checkpoint "$out"
    vc ps >running
    for node in "$@"; do vc "$verb" "$node"; done
    same "keepers, one on each node" "$(grep -c "offramp keeper" running)" 4
    from=$(now_ms)
    code=0
    wait $job || code=$?
    echo "$verb $*: mpirun ended after $(($(now_ms) - from)) ms with $code"
    [ $code != 0 ] || fail "$verb $*: the job ended well"
}

# go_on OUT SOURCE [ARGUMENT...]: the same command goes on from there, to the same bits, and leaves
# nothing on the nodes that took part.
go_on() {
    out=$1 where=$2
    shift 2
    from=$(now_ms)
    # shellcheck disable=SC2086
    train "$out" 60 $kept $more "$@" || fail "$out: $(cat "$out.out" "$out.err")"
    echo "$out on $(tr '\n' ' ' <nodes): $(grep '^resumed' "$out.out"), all over after $(($(now_ms) - from)) ms"
    grep -q "^resumed from $where" "$out.out" || fail "$out: not from $where: $(cat "$out.out")"
    same "state of $out" "$(hash_of "$out")" "$(hash_of straight)"
    while read -r node _; do
        left=$(vc exec "$node" find /dev/shm -type f)
        [ -z "$left" ] || fail "$out: left on $node: $left"
    done <nodes
}

more=
export OFFRAMP_FAULT=
up 6
on n1 n2 n3 n4
train straight 60 || fail "$(cat straight.out straight.err)"

# Two nodes lose power: started again with empty memory; and two others take their place.
lose again 5 power n2 n4
vc start n2
vc start n4
go_on again memory
grep -q "^snapshots survive the loss of any 2 of 4 nodes" again.out || fail "$(cat again.out)"
lose spares 5 power n1 n3
on n6 n2 n5 n4
go_on spares memory
vc start n1
vc start n3

# Cut off: its daemon ends its ranks. Healed, it has its memory still.
on n1 n2 n3 n4
lose cut 5 cut n3
within 5 ranks_gone n3 n4
vc heal n3
go_on cut memory

# One stands still, and mpirun does not notice; awake again, what is left of it does no harm.
lose frozen 1 freeze n2
on n1 n5 n3 n4
go_on frozen memory
before=$(cat frozen/summary.json)
vc thaw n2
within 15 ranks_gone n2 n3
same "summary after n2 woke up" "$(cat frozen/summary.json)" "$before"
vc power n2 # whose keeper would stay for an hour
vc start n2

# All are lost.
on n1 n2 n3 n4
more="--set save_steps=10"
lose disk 5 power n1 n2 n3 n4
for node in n1 n2 n3 n4; do vc start $node; done
go_on disk disk/checkpoint-
