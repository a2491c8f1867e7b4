#!/bin/sh
# `offramp launch` with a host file: nodes that die, freeze and come back. They are names only, of this
# machine: the agent that reaches them and the mpirun that starts ranks on them are shells, so what is
# tested is what launch notices and which nodes it names.
. "$(dirname "$0")/cli_run.sh"

real=$(command -v mpirun)
settings="--set num_steps=1000000 --set save_steps=1000 --set snapshot_steps=1" # until it is halted
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_rmaps_base_oversubscribe=1 HOSTS="$scratch/starts"
supervisor=
trap 'kill -9 $supervisor 2>/dev/null || true' EXIT

mkdir bin down
cat >bin/mpirun <<SCRIPT
#!/bin/sh
n=\$#
while [ \$n -gt 0 ]; do
    word=\$1
    shift
    n=\$((n - 1))
    case \$word in
    --host) echo "\$1" >>"\$HOSTS"; shift; n=\$((n - 1)) ;;
    *) set -- "\$@" "\$word" ;;
    esac
done
exec $real "\$@"
SCRIPT
cat >agent <<SCRIPT
#!/bin/sh
host=\$1
shift
[ \$host != nohost ] || { echo "ssh: Could not resolve hostname \$host" >&2; exit 255; }
[ ! -e $scratch/down/\$host ] || exec sleep 1000
echo \$\$ >$scratch/pid.\$host
echo "Welcome to \$host"
exec "\$@"
SCRIPT
chmod +x bin/mpirun agent
cat >hosts <<LIST
a slots=2 # comment

b slots=2
c slots=2
d slots=2
LIST
touch down/d # a spare that cannot be reached

launch() { # OUT [ARGUMENT...]
    out=$1
    shift
    rm -f "$HOSTS"
    # shellcheck disable=SC2086
    PATH=$scratch/bin:$PATH "$offramp" launch --hostfile hosts --spares 2 --nodes-min 1 \
        --agent "$scratch/agent" "$@" -- train "$tiny" --output-dir "$out" --set data_dir="$data" \
        $settings >"$out.out" 2>"$out.err" &
    supervisor=$!
}

has_told() { # EVENT COUNT
    [ "$(grep -c "\"event\":\"$1\"" "$out/supervisor.jsonl" 2>/dev/null)" -ge "$2" ] 2>/dev/null
}

has_come_to() {
    [ "$(sed -n 's/^{"step":\([0-9]*\),.*/\1/p' "$out/metrics.jsonl" 2>/dev/null | tail -n 1)" -ge "$1" ] 2>/dev/null
}

launch run
within 30 has_told job.started 1
same "nodes of the first start" "$(cat "$HOSTS")" "a:2,b:2"
grep -q "node d does not answer, a spare" run.err || fail "a spare that is not there: $(cat run.err)"
within 60 has_come_to 100

# The process that reports ends, and nothing else: that is no loss.
kill -9 "$(cat pid.b)"
sleep 2
has_told node.gone 2 && fail "the end of a reporter was taken for the end of its node: $(cat run.err)"

# A node that is not reached any more; the spare that answers takes its place.
touch down/b
kill -9 "$(cat pid.b)"
within 30 has_told job.recovered 1
same "nodes of the second" "$(sed -n 2p "$HOSTS")" "a:2,c:2"
grep -q "node b gone at step [0-9]* (it does not answer); starting again" run.err ||
    fail "a lost node: $(cat run.err)"

# One that is frozen, and no spare: the run shrinks.
touch down/c
kill -STOP "$(cat pid.c)"
within 30 has_told job.recovered 2
same "nodes of the third" "$(sed -n 3p "$HOSTS")" "a:2"

# One that is back is used by the next start.
rm down/b
within 30 has_told node.back 1
for mpirun in $(cat /proc/"$supervisor"/task/*/children); do
    for rank in $(cat /proc/"$mpirun"/task/*/children 2>/dev/null); do
        kill -9 "$rank"
        break 2
    done
done
within 30 has_told job.recovered 3
same "nodes of the fourth" "$(sed -n 4p "$HOSTS")" "a:2,b:2"
kill -TERM "$supervisor"
code=0
wait "$supervisor" || code=$?
same "code" "$code" 75
steps=$(sed -n 's/^offramp: halted as asked after step \([0-9]*\), .*/\1/p' run.err)
for out in run straight; do
    # shellcheck disable=SC2086
    train_well 1 $out $settings --set snapshot_steps=0 --set max_steps=$((steps + 10))
done
same "state" "$(hash_of run)" "$(hash_of straight)"
for host in a b c; do
    kill -9 "$(cat pid.$host)" 2>/dev/null && fail "the reporter of $host is still there"
done

# A name that is no host's, which the agent leaves with its own code: a spare takes its place; where
# there is none launch waits for it, and can be halted.
printf '%s slots=2\n' a nohost c >hosts
rm down/c
launch named --spares 1 --nodes-min 2
named=$supervisor
printf '%s slots=2\n' a nohost >hosts.two
PATH=$scratch/bin:$PATH HOSTS=$scratch/starts.two "$offramp" launch --hostfile hosts.two \
    --agent "$scratch/agent" -- train "$tiny" --output-dir waits --set data_dir="$data" >waits.out 2>waits.err &
supervisor=$!
within 60 grep -q "^offramp launch: node nohost does not answer$" waits.err
within 10 grep -q "^offramp launch: fewer than 2 nodes answer: waiting for them, within 600 s$" waits.err
within 60 has_told job.started 1
same "nodes without the one of a wrong name" "$(cat "$HOSTS")" "a:2,c:2"
grep -q "^offramp launch: node nohost does not answer$" named.err || fail "a wrong name: $(cat named.err)"
for out in named waits; do
    "$offramp" halt $out --wait 60 >said 2>&1 || fail "$out does not halt: $(cat said $out.err)"
done
code=0
wait "$supervisor" || code=$?
same "code of one that waited for a node" "$code" 75
[ ! -e starts.two ] || fail "a start named $(cat starts.two)"
code=0
wait "$named" || code=$?
same "code" "$code" 75

# What is wrong with the host file.
echo "a slots=2 more" >hosts
launch wrong
code=0
wait "$supervisor" || code=$?
same "code of a wrong host file" "$code" 78
same "what it says" "$(cat wrong.err)" \
    "offramp: hosts:1: 'HOST slots=N' is expected, found 'a slots=2 more'"
