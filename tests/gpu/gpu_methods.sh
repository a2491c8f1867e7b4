#!/bin/sh
# Methods that compute something of their own on a device: the losses of heads and gates are those of
# the CPU, in all stages.
. "$(dirname "$0")/../cli/cli_run.sh"

tolerance=1e-3 # relative, of sums over a batch: float sums in another order, over all updates
export CUDASIM_DEVICES=1

head_losses() {
    sed -n 's/^{"step":\([0-9]*\),.*"head_loss":\([0-9.e+-]*\),"gate_loss":\([0-9.e+-]*\),.*/\1 \2 \3/p' "$1/metrics.jsonl"
}

for method in layerskip berxit palbert distil_next boosted zero_time_waste focal pteenet; do
    dropout=0 # and with layers left out, once
    [ $method != focal ] || dropout=0.5
    for device in cpu cuda; do
        train_well 1 $method.$device --set exit_loss=$method --set device=$device --set num_steps=8 \
            --set exit_gradient=equilibrium --set layer_dropout=$dropout
        head_losses $method.$device >$method.$device.losses
    done
    same "steps of $method with losses" "$(wc -l <$method.cuda.losses)" 16
    paste -d ' ' $method.cpu.losses $method.cuda.losses |
        awk -v most="$tolerance" -v method=$method '
            function apart(a, b) { d = a - b; if (d < 0) d = -d; if (d > worst * (1 + (a < 0 ? -a : a))) worst = d / (1 + (a < 0 ? -a : a)) }
            { if ($1 != $4) exit 1; apart($2, $5); apart($3, $6) }
            END { print method ": worst difference of a loss", worst + 0; exit worst > most }' ||
        fail "$method: losses of CPU and device differ"
done
