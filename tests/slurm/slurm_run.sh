# slurm_run.sh - what the tests under Slurm share. A test is called with
#
#      slurm_TEST.sh SOURCE BUILD DATA SCRATCH
#
# and begins with `. slurm_run.sh`. Its Slurm is real, and private: daemons, key and files of its own, in
# the namespaces of a virtual cluster. All of them end with that cluster.
. "$(dirname "$0")/../cluster/cluster_run.sh"

# shellcheck disable=SC2034
templates=$source/launch/cluster/slurm
run=
trap 'slurm_down' EXIT

# within SECONDS CONDITION...: waits until the command succeeds, or three times as long: machines are busy.
# By the clock, for a look takes long.
within() {
    deadline=$(($(now_ms) + 3000 * $1))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt $deadline ] || fail "not in time: $*"
        sleep 0.2
    done
}

skip() {
    echo "SKIPPED: NO TEST UNDER SLURM: $*" >&2
    exit 77
}

slurm_down() {
    vc down
    [ -z "$run" ] || rm -rf "$run"
}

# Commands of a user on the head, with nothing but this in their environment: what MPI wants on this
# machine, as a site would set it.
slurm() {
    vc exec n0 env -i PATH="$PATH" HOME="${HOME:-/}" SLURM_CONF="$run/slurm.conf" \
        OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp OMPI_MCA_mpi_yield_when_idle=1 \
        OMPI_MCA_hwloc_base_binding_policy=none OPENBLAS_NUM_THREADS=1 \
        OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
        OFFRAMP="$build/offramp" "$@"
}

states() { # of nodes, once each
    slurm sinfo -h -N -o %T | sort -u | tr '\n' ' '
}

all_idle() { [ "$(states)" = "idle " ]; }

slurmd_on() {
    vc exec "$1" env SLURM_CONF="$run/slurm.conf" slurmd
}

# slurm_up N: n1 to nN are idle, and the controller is on n0.
slurm_up() {
    PATH=$PATH:/usr/sbin:/sbin
    for tool in slurmctld slurmd sbatch srun munged setpriv; do
        command -v $tool >/dev/null || skip "$tool is missing: packages slurm-wlm, munge, util-linux"
    done
    [ "$(id -u)" = 0 ] || skip "only root may: slurmd drops groups, which a user's own namespace forbids"
    run=/tmp/offramp-slurm.$(echo "$scratch" | cksum | cut -d ' ' -f 1) # short: a socket is in it
    rm -rf "$run"
    mkdir -m 755 "$run" "$run/munge" "$run/state"
    head -c 1024 /dev/urandom >"$run/munge/key"
    chmod 400 "$run/munge/key"
    chown -R munge:munge "$run/munge"
    sed "s|RUN|$run|g; s|NODES|$1|g" "$source/tests/slurm/slurm.conf" >"$run/slurm.conf"
    up "$1" --shm 300m --share "$run"
    vc exec n0 setpriv --reuid=munge --regid=munge --clear-groups munged \
        --key-file="$run/munge/key" --socket="$run/munge/socket" --pid-file="$run/munge/pid" \
        --log-file="$run/munge/log" --seed-file="$run/munge/seed" ||
        fail "munged: $(cat "$run/munge/log")"
    vc exec n0 env SLURM_CONF="$run/slurm.conf" slurmctld -c || fail "$(cat "$run/slurmctld.log")"
    for index in $(seq 1 "$1"); do
        slurmd_on "n$index" || fail "$(cat "$run/slurmd.n$index.log")"
    done
    within 60 all_idle
}

# submit ARGUMENT...: of sbatch; sets job. What it says is in `log`.
submit() {
    job=$(slurm sbatch --parsable --output="$scratch/log" "$@")
    trap 'end_badly' EXIT
}

end_badly() {
    code=$?
    [ $code = 0 ] || {
        slurm scontrol show job "$job" || true
        slurm sinfo -N || true
        tail -n 30 "$run"/slurm*.log "$scratch/log" || true
    } >&2
    slurm_down
    exit $code
}

of_job() { # of_job KEY
    slurm scontrol show -o job "$job" | sed -n "1s/.* $1=\([^ ]*\).*/\1/p"
}

is() { # is STATE
    [ "$(of_job JobState)" = "$1" ]
}

has_steps() { # has_steps OUT STEP
    [ "$(sed -n 's/^{"step":\([0-9]*\),.*/\1/p' "$1/metrics.jsonl" 2>/dev/null | tail -n 1)" -ge "$2" ] 2>/dev/null
}

# endless [SAVE_STEPS]: the recipe of a run that goes on until it is halted.
endless() {
    sed '/^\(num_steps\|save_steps\|max_eval_samples\|timing_samples\):/d' \
        "$source/tests/cli/tiny.yaml" >recipe.yaml
    printf '%s\n' "num_steps: 1000000" "save_steps: ${1:-0}" "max_eval_samples: 60" "timing_samples: 0" \
        "data_dir: $data" >>recipe.yaml
}

is_requeued() { is PENDING && [ "$(of_job Restarts)" = "$1" ]; }

# urgent N: a job of N nodes that takes them from less urgent ones, and ends.
urgent() {
    from=$(now_ms)
    # shellcheck disable=SC2016
    slurm timeout 120 srun -p urgent --exclusive -N "$1" -t 5 sh -c 'sleep 3; hostname' >urgent
    same "ranks of the urgent job" "$(wc -l <urgent)" "$1"
    echo "the urgent job had begun and ended after $(($(now_ms) - from)) ms"
}

# Begins the next turn of the job at once, not after the two minutes that Slurm has it wait: with the same
# number, it must not meet what is left of the turn before, nor begin in the second in which slurmd took
# back what that was allowed.
next_turn() {
    within 60 no_steps
    sleep 2
    slurm scontrol update "JobId=$job" StartTime=now
}

no_steps() { ! vc exec n0 pgrep -f "slurmstepd: \[$job" >/dev/null; }

# ends_in_another_turn OUT N: the job saved and is back in the queue for the Nth time. Its next turn goes on
# from where it was, and ends ten steps later with the same bits as a run that nothing happened to.
ends_in_another_turn() {
    within 120 is_requeued "$2"
    halted=$(sed -n 's/^offramp: halted as asked after step \([0-9]*\), .*/\1/p' log | tail -n 1)
    [ -n "$halted" ] || fail "no word of a halt: $(cat log)"
    echo "max_steps: $((halted + 10))" >>recipe.yaml
    next_turn
    within 60 is COMPLETED
    same "exit code of the job" "$(of_job ExitCode)" 0:0
    grep -q "^resumed from $1/checkpoint-$halted\$" log || fail "it did not go on: $(cat log)"
    "$build/offramp" train recipe.yaml --output-dir straight >straight.out 2>&1 || fail "$(cat straight.out)"
    same "state" "$(hash_of "$1")" "$(hash_of straight)"
    echo "halted after step $halted, and went on in its next turn to the same bits"
}

hash_of() {
    sed -n 's/^  "state_hash": "\([0-9a-f]*\)".*/\1/p' "$1/summary.json"
}
