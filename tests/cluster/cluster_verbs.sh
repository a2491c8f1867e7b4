#!/bin/sh
# Each verb of the virtual cluster does what it says: memory that is gone, connections that end or
# only fall silent, nodes that cannot be reached, that stand still, that are slow.
. "$(dirname "$0")/cluster_run.sh"

# reaches FROM TO: packets go there and back. Nobody listens, so an answer is a refusal.
reaches() {
    timeout 1 "$vcluster" -c "$name" exec "$1" bash -c ": </dev/tcp/$2/9" 2>reached || true
    grep -q refused reached
}

silent() { ! reaches "$@"; }
shmem_kb() { sed -n 's/^Shmem: *\([0-9]*\).*/\1/p' /proc/meminfo; }
connected() { [ -n "$(vc exec n0 ss -Htn state established dst "$1")" ]; }
disconnected() { ! connected "$@"; }
lines_of() { wc -l <"$1"; }

up 4 --shm 300m --tmp 30m

# Names, addresses, sizes, what is shared and what is not; input, output and exit code of exec.
for i in 1 2 3 4; do
    same "host name" "$(vc exec n$i hostname)" n$i
    same "address" "$(vc exec n$i ip -4 -o addr show eth0 | sed 's/.*inet \([^ ]*\) .*/\1/')" "10.77.0.1$i/24"
done
same "size of /dev/shm" "$(vc exec n1 df -k --output=size /dev/shm | tail -1 | tr -d ' ')" 307200
same "size of /tmp" "$(vc exec n1 df -k --output=size /tmp | tail -1 | tr -d ' ')" 30720
same "folder of exec" "$(vc exec n2 pwd)" "$scratch"
same "input of exec" "$(echo given | vc exec n2 cat)" given
ends 7 vc exec n3 sh -c 'exit 7'
vc exec n1 touch /dev/shm/mine /tmp/mine
ends 2 vc exec n2 ls /dev/shm/mine
ends 2 vc exec n2 ls /tmp/mine
reaches n1 n2 || fail "n1 does not reach n2: $(cat reached)"

# MPI between them.
vc exec n0 mpirun --host n1,n2,n3,n4 hostname | sort >hosts
same "hosts of ranks" "$(tr '\n' ' ' <hosts)" "n1 n2 n3 n4 "
ends 0 vc exec n0 mpirun --host n1,n2,n3,n4 "$build/tests/counter" /dev/shm/counter 20
grep -q "^guarantee: any 2 of 4 nodes" said || fail "counter: $(cat said)"

# Power: memory is gone, nobody is told. The job that ran there still has its connection.
vc exec n1 dd if=/dev/zero of=/dev/shm/large bs=1M count=250 2>/dev/null
full=$(shmem_kb)
vc exec n0 mpirun --mca oob_tcp_keepalive_time 300 --host n1,n2 sleep 60 >/dev/null 2>&1 &
within 20 connected 10.77.0.11
within 20 connected 10.77.0.12
vc power n1
[ $((full - $(shmem_kb))) -gt 150000 ] || fail "memory of n1 is still there"
ends 255 vc exec n1 true
same "what is said of it" "$(cat said)" "vcluster: n1 is down"
sleep 1
connected 10.77.0.11 || fail "the connection to n1 was ended"

# Kill: the kernel says goodbye for the processes.
vc kill n2
within 10 disconnected 10.77.0.12
vc start n1
vc start n2
ends 2 vc exec n1 ls /dev/shm/large
reaches n3 n1 || fail "n1 is not reached after its start: $(cat reached)"

# Cut: processes live, packets do not.
vc exec n2 sh -c 'sleep 60 & echo $!' >process
vc cut n2
silent n1 n2 || fail "n1 reaches n2, which is cut off"
silent n2 n1 || fail "n2, which is cut off, reaches n1"
vc exec n2 kill -0 "$(cat process)" || fail "cut killed a process"
ends 255 vc exec n0 "$source/launch/cluster/virtual/agent" n2 true
same "what the agent says" "$(cat said)" "agent: n2 does not answer"
code=0
timeout 30 "$vcluster" -c "$name" exec n0 mpirun --host n1,n2 true >said 2>&1 || code=$?
case $code in 0 | 124) fail "mpirun on a node that is cut off ended with $code: $(cat said)" ;; esac
vc heal n2
within 20 reaches n1 n2
ends 3 vc exec n0 env OF=caller "$source/launch/cluster/virtual/agent" n2 'echo "$OF" on $(hostname); exit 3'
same "environment and output of the agent" "$(cat said)" " on n2"

# Freeze: processes stand still, the kernel answers.
vc exec n3 sh -c 'while :; do echo; sleep 0.02; done' >ticks 2>/dev/null &
job=$!
more() { [ "$(lines_of ticks)" -gt "$1" ]; }
within 20 more 10
vc freeze n3
before=$(lines_of ticks)
sleep 0.3
same "ticks of a frozen node" "$(lines_of ticks)" "$before"
within 10 reaches n1 n3
vc ps | grep -q '^   [0-9]* T sh -c while' || fail "ps: $(vc ps)"
vc thaw n3
within 20 more $((before + 3))
vc kill n3
within 20 gone $job

# Rate: 3 MB take more than a second at 20 Mbit/s. How fast they are without a limit is the machine's affair.
vc rate n4 20mbit
from=$(now_ms)
vc exec n0 mpirun --host n4 head -c 3000000 /dev/zero | wc -c >sent
took=$(($(now_ms) - from))
same "bytes sent" "$(cat sent)" 3000000
[ "$took" -gt 1000 ] || fail "3 MB took $took ms at 20 Mbit/s"
limited() { vc exec n4 tc qdisc show dev eth0 | grep -q tbf; }
limited || fail "n4 has no limit: $(vc exec n4 tc qdisc show dev eth0)"
vc rate n4 none
! limited || fail "n4 has a limit still"

# What cannot be done is said in a line.
refused() { # refused CODE TEXT VERB...
    text=$2
    expected=$1
    shift 2
    ends "$expected" vc "$@"
    same "what vcluster $* says" "$(tail -n 1 said)" "vcluster: $text"
}
refused 1 "n1 is up" start n1
refused 255 "n3 is down" power n3
refused 2 "'n9' is no node: expected n0 to n4" exec n9 true
refused 2 "n0 is the head: only cut, heal and rate; it ends with all others, by down" kill n0
refused 1 "$name is there: vcluster -c $name down" up 1
refused 2 "up 'x': expected 1 to 99 nodes" up x
refused 2 "frob is no verb" frob
