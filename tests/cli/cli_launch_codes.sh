#!/bin/sh
# `offramp launch` and an mpirun that does what it is told: every exit code of docs/launching.md, whose
# table is this test's table, signals, and starts that come to nothing.
. "$(dirname "$0")/cli_run.sh"

page=$(dirname "$self")/../../docs/launching.md
real=$(command -v mpirun)
settings="--set num_steps=5"
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_rmaps_base_oversubscribe=1 STARTS="$scratch/starts"
supervisor=
trap 'kill -9 $supervisor 2>/dev/null || true' EXIT

# An mpirun that counts its starts, and does in the first what $FIRST says.
mkdir bin
cat >bin/mpirun <<SCRIPT
#!/bin/sh
echo "\$OFFRAMP_INCARNATION" >>"\$STARTS"
[ "\$(wc -l <"\$STARTS")" != 1 ] || eval "\$FIRST"
exec $real "\$@"
SCRIPT
chmod +x bin/mpirun

# launch OUT [OPTION...]: with that mpirun; in the background, where SIGINT is ignored by default.
launch() {
    out=$1
    shift
    rm -f "$STARTS"
    # shellcheck disable=SC2086
    PATH=$scratch/bin:$PATH env --default-signal=INT "$offramp" launch -n 2 "$@" -- train "$tiny" \
        --output-dir "$out" --set data_dir="$data" $settings >"$out.out" 2>"$out.err" &
    supervisor=$!
}

over() {
    code=0
    wait "$supervisor" || code=$?
}

starts() {
    wc -l <"$STARTS"
}

has_started() {
    [ -s "$STARTS" ]
}

rows=0
sed -n '/table of codes: begin/,/table of codes: end/s/^| \([0-9]*\) | \([a-z ]*\) | \([0-9]*\) *|$/\1:\2:\3/p' \
    "$page" >table
while IFS=: read -r ends does expected; do
    export FIRST="exit $ends"
    [ "$ends" != 0 ] || FIRST=:
    launch "code$ends"
    over
    case $does in
    done | stops)
        same "starts after code $ends" "$(starts)" 1
        same "code of launch after $ends" "$code" "$expected"
        ;;
    "starts again")
        same "starts after code $ends" "$(starts)" 2
        same "code of launch after $ends" "$code" 0
        same "incarnation of the first start" "$(sed -n 1p "$STARTS")" ""
        same "of the second, that fences" "$(sed -n 2p "$STARTS")" 2
        ;;
    *) fail "the table says '$does'" ;;
    esac
    if [ "$does" = stops ] && [ "$ends" != 75 ]; then
        grep -q "the run has failed" "$out.err" || fail "$ends: no block: $(cat "$out.err")"
        same "exit code in the summary" "$(value "$out/summary.json" exit_code)" "$expected"
    fi
    rows=$((rows + 1))
done <table
[ "$rows" -ge 17 ] || fail "the table has $rows rows"
for code in $(sed -n 's/^| \([0-9]*\) |.*/\1/p' "$(dirname "$page")/exit_codes.md"); do
    grep -q "^$code:" table || fail "launching.md does not say what is done about code $code"
done

# Ranks that save in time.
FIRST='trap "exit 75" USR1; while :; do sleep 0.05; done'
for signal in TERM USR1 USR2 HUP INT; do
    launch halted.$signal
    within 10 has_started
    sleep 0.3
    kill -$signal "$supervisor"
    over
    same "code after SIG$signal" "$code" 75
    same "starts" "$(starts)" 1
done

# Ranks that do not.
FIRST='trap "" USR1 TERM; while :; do sleep 0.05; done'
launch late --grace-s 1
within 10 has_started
sleep 0.3
kill -TERM "$supervisor"
over
same "code after the grace" "$code" 75
launch left
within 10 has_started
sleep 0.3
kill -INT "$supervisor"
sleep 0.3
before=$(date +%s)
kill -INT "$supervisor"
over
same "code after a second SIGINT" "$code" 130
[ $(($(date +%s) - before)) -le 10 ] || fail "a second SIGINT took $(($(date +%s) - before)) s"

# A signal while nothing runs, between two starts.
FIRST='exit 70'
launch between
within 10 grep -q "starting again in" between.err
kill -TERM "$supervisor"
over
same "code between two starts" "$code" 75
same "starts" "$(starts)" 1

# mpirun that says it is done while it is not, as with --enable-recovery.
FIRST=:
settings="--set num_steps=12 --set snapshot_steps=1"
export OFFRAMP_FAULT="snap.copy@1#30=kill"
launch belied --mpirun "--enable-recovery" --hang-s 1
over
[ "$(starts)" -ge 2 ] || fail "a rank was killed, and mpirun believed"
grep -q "rank 1 (.*) gone at step [0-9]* (it died); starting again" belied.err ||
    fail "a rank that died unheard: $(cat belied.err)"

# Every start dies before it keeps a step.
export OFFRAMP_FAULT="snap.copy@1#1=kill"
launch stalled
over
same "code of a run that goes nowhere" "$code" 93
same "starts" "$(starts)" 3
grep -q "the run has failed: 3 starts in a row kept no new step" stalled.err ||
    fail "it says: $(cat stalled.err)"
same "verdict" "$(value stalled/summary.json verdict)" no_progress
unset OFFRAMP_FAULT
FIRST=:
launch stalled # it can be gone on with all the same
over
same "code of the next launch" "$code" 0

# A path that mpirun would look for elsewhere, and not say so.
code=0
"$offramp" launch -n 2 --hostfile none --agent ./agent -- train "$tiny" --output-dir none 2>none.err || code=$?
same "exit code with an agent by a path from here" "$code" 2
grep -q "agent ./agent: expected a command in PATH, or a whole path" none.err || fail "$(cat none.err)"

# No mpirun at all.
mkdir empty
code=0
PATH=$scratch/empty "$offramp" launch -n 2 -- train "$tiny" --output-dir none \
    --set data_dir="$data" 2>none.err || code=$?
same "code without mpirun" "$code" 66
grep -q "offramp: mpirun: No such file" none.err || fail "without mpirun: $(cat none.err)"
