#!/bin/sh
# `offramp launch` over many losses: a rank is killed again and again, CYCLES times (25). Once it is
# warm, a cycle leaves nothing behind: no file in memory or in the folders of temporary files, no
# socket, no process, no descriptor of the supervisor, and no memory of it. Says what it found.
. "$(dirname "$0")/cli_run.sh"

cycles=${CYCLES:-25}
warm=5 # cycles after which nothing may grow but this, of the supervisor, which is 256 KiB in 100
memory_kib=$((cycles * 256 / 100))
export LAUNCH_TEST="cycles.$$" TMPDIR="$scratch/tmp"
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_rmaps_base_oversubscribe=1
# What Open MPI keeps in memory and in files, too, where it can be told from that of others.
export OMPI_MCA_btl_vader_backing_directory="$scratch/shm" OMPI_MCA_orte_tmpdir_base="$scratch/tmp"
mkdir tmp shm # the memory of snapshots is a folder that ranks make
supervisor=
trap 'kill -9 $supervisor 2>/dev/null || true' EXIT

told() {
    grep -c "\"event\":\"$1\"" out/supervisor.jsonl 2>/dev/null || true
}

# The start that came after the last loss has kept steps: one that keeps none is another matter.
has_gone_on() {
    from=$(sed -n 's/^{"from":\([0-9]*\),.*job.recovered.*/\1/p' out/supervisor.jsonl | tail -n 1)
    [ "$(sed -n '$s/^{"step":\([0-9]*\),.*/\1/p' out/metrics.jsonl)" -ge $((from + 5)) ] 2>/dev/null
}

has_told() { # EVENT COUNT
    [ "$(told "$1")" -ge "$2" ]
}

# ranks: their processes, as the supervisor's mpirun has them.
ranks() {
    for mpirun in $(cat /proc/"$supervisor"/task/*/children 2>/dev/null); do
        cat /proc/"$mpirun"/task/*/children 2>/dev/null || true
    done
}

# Processes of this test that are neither a shell nor one of its tools.
processes() {
    for process in $(grep -lzx "LAUNCH_TEST=$LAUNCH_TEST" /proc/[0-9]*/environ 2>/dev/null |
        cut -d/ -f3); do
        case $(readlink "/proc/$process/exe" 2>/dev/null) in
        "$offramp" | */orterun | */orted | */mpirun*) echo "$process" ;;
        esac
    done
}

count() { # count FOLDER...: everything in them
    find "$@" -mindepth 1 2>/dev/null | wc -l
}

# "descriptors sockets processes shm_files temporary_files unix_sockets kib": the first of the supervisor.
look() {
    echo "$(count "/proc/$supervisor/fd")" \
        "$(find "/proc/$supervisor/fd" -lname 'socket:*' | wc -l)" \
        "$(processes | wc -l)" "$(count shm memory "$pages")" "$(count tmp)" \
        "$(grep -c "$scratch" /proc/net/unix || true)" \
        "$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$supervisor/status")"
}

"$offramp" launch -n 2 --max-restarts 1000 --max-stalls 1000 -- train "$tiny" --output-dir out --set data_dir="$data" \
    --set num_steps=1000000 --set save_steps=0 --set hash_steps=0 --set train_batch_size=512 \
    --set per_device_train_batch_size=64 --set snapshot_steps=1 --set snapshot_dir="$scratch/memory" \
    >out.out 2>out.err &
supervisor=$!
is_up() { [ -s out/metrics.jsonl ]; }
within 60 is_up
pages=$("$offramp" status out --field pages)
[ -d "$pages" ] || fail "no pages of ranks: '$pages'"

begun=$(date +%s%N)
cycle=0
while [ $cycle -lt "$cycles" ]; do
    victim=$(ranks | awk -v n=$((cycle % 2 + 1)) '{ for (i = 1; i <= NF; i++) if (++k == n) print $i }')
    [ -n "$victim" ] && kill -9 "$victim" || fail "cycle $cycle: no rank to kill: $(cat out.err)"
    cycle=$((cycle + 1))
    within 60 has_told job.recovered $cycle
    within 60 has_gone_on
    echo "$cycle $((($(date +%s%N) - begun) / 1000000)) $(look)" >>found
done

# Against the largest of the warm cycles: what is seen while a job is about to be is no growth.
awk -v warm=$warm -v room=$memory_kib '
    BEGIN { split("descriptors sockets processes shm_files temporary_files unix_sockets KiB", names) }
    $1 == 1 || $1 == warm || $1 % 50 == 0 {
        printf "cycle %d after %.1f s:", $1, $2 / 1000
        for (i = 3; i <= NF; i++) printf " %s %d", names[i - 2], $i
        print ""
    }
    $1 <= warm { for (i = 3; i <= NF; i++) if ($i > most[i]) most[i] = $i }
    $1 > warm {
        for (i = 3; i <= NF; i++) if ($i > most[i] + (i == NF ? room : 0)) {
            printf "cycle %d: %s %d, more than %d\n", $1, names[i - 2], $i, most[i]
            grown = 1
        }
    }
    END { print NR " cycles, " int($2 / NR) " ms each"; exit grown }' found || fail "something grows"
same "losses told" "$(told job.lost)" "$cycles"

"$offramp" halt out --wait 60 >/dev/null || fail "it does not halt: $(cat out.err)"
code=0
wait "$supervisor" || code=$?
same "code of a run that was asked to halt" "$code" 75
nothing_runs() { [ -z "$(processes)" ]; }
within 20 nothing_runs
same "files in memory at the end" "$(count shm memory "$pages")" 0
same "temporary files at the end" "$(count tmp)" 0
