#!/bin/sh
# `make methods`, on little data: two methods with two seeds on one backbone, whose features are computed once.
. "$(dirname "$0")/cli_run.sh"

script="$(dirname "$self")/../bench/methods.py"
for program in gnuplot python3; do
    if ! command -v $program >/dev/null; then
        echo "SKIPPED: $program is not installed" >&2
        exit 77
    fi
done

compare() { # compare ARGUMENT...
    code=0
    python3 "$script" --offramp "$offramp" --output-dir out --ranks 1 --seeds 2 --epochs 1 --table page.md \
        --set data_dir="$data" --set-backbone num_hidden_layers=3 --set-backbone hidden_size=32 \
        --set-backbone intermediate_size=64 --set-backbone num_train_epochs=2 "$@" >said 2>err || code=$?
}

printf '# A page\n\nBefore.\n\n<!-- fashion: begin -->\nstale\n<!-- fashion: end -->\n\nAfter.\n' >page.md
compare --methods jei,linear
same "code of methods.py: $(cat said err)" $code 0

# The page: its own words stay, and each method has a row with every budget.
grep -q '^Before\.$' page.md && grep -q '^After\.$' page.md || fail "words of the page: $(cat page.md)"
! grep -q '^stale$' page.md || fail "the old part is still there"
number='[0-9]+\.[0-9]{2} ± [0-9]+\.[0-9]{2}'
for row in '`jei` \| `gate/free`' '`linear` \| `max_prob/free`'; do
    same "rows of $row" "$(grep -cE "^\| $row( \| $number){4} \|\$" page.md)" 1
done
same "rows of gates beside thresholds" "$(grep -cE "^\| .jei.( \| $number \([+-]$number\)){4} \|\$" page.md)" 1
same "rows of any rule" "$(grep -cE "^\| .(jei|linear).( \| $number){4} \|\$" page.md)" 2
same "rows of promises" "$(grep -cE '^\| `(conformal|risk)(_gate)?` \|' page.md)" 12
[ -s out/report.html ] || fail "no report"

# Numbers are those of the runs: the row of the lambda that is best on the validation samples.
python3 - <<'PYTHON' || fail "numbers of the page: $(cat page.md)"
import json
import re

records = json.load(open("out/methods.json"))["records"]
assert len(records) == 2 * 4 * (3 + 2), len(records)  # seeds, budgets; by gates, by thresholds, by any rule
for record in records:
    results = json.load(open(f"out/{record['method']}-{record['seed']}/results.json"))
    best = None
    for entry in results["lambdas"]:
        for row in entry["policies"]:
            if record["policy"] in (row["policy"], "any") and row.get("budget") == record["budget"]:
                if best is None or row["validation"]["accuracy"] > best["validation"]["accuracy"]:
                    best = row | {"lambda": entry["lambda"]}
    assert best and (best["accuracy"], best["lambda"]) == (record["accuracy"], record["lambda"]), record

# What the page says of gates beside thresholds, and of promises.
page = open("page.md").read()
for n, budget in enumerate([0.5, 0.6, 0.7, 0.8]):
    of = {(r["policy"], r["seed"]): r["accuracy"] for r in records
          if (r["method"], r["budget"]) == ("jei", budget)}
    gain = 100 * sum(of["gate/free", s] - of["max_prob/free", s] for s in (1, 2)) / 2
    row = re.search(r"^\| `jei` \| \d.*\(.*", page, re.MULTILINE)[0].split("|")[2 + n]
    assert abs(float(row.split("(")[1].split()[0]) - gain) < 0.0051, (row, gain)
runs = [json.load(open(f"out/{m}-{s}/results.json")) for m in ("jei", "linear") for s in (1, 2)]
for line in re.findall(r"^\| `\w+` \| 0\.\d+ \| .*", page, re.MULTILINE):
    rule, risk, missed, _, kept, _ = [cell.strip(" `") for cell in line.strip("|").split("|")]
    parts = [part for run in runs for entry in run["lambdas"] for promise in entry["promises"]
             if (promise["rule"], promise["risk"]) == (rule, float(risk)) for part in promise.get("exits", [promise])]
    assert kept == f"{sum(part['kept'] for part in parts)} of {len(parts)}", line
    share = sum(sum(p["missed"]) for p in parts) / sum(sum(p["tested"]) for p in parts)
    assert abs(share - float(missed)) < 0.000051, (line, share)
PYTHON

# Equal terms: one file each of features to train on, held out and tested on, whatever the seed and method;
# the same samples; but seeds that differ.
same "files of features" "$(ls out/*/features-*.bin out/features-*.bin | sed 's|.*/||' | sort -u | wc -l)" 3
same "files in all" "$(ls -i out/*/features-*.bin out/features-*.bin | sed 's/ .*//' | sort -u | wc -l)" 3
same "samples" "$(sed -n 's/^data: *[^,]*, //p' out/*-[12].log | sort -u | wc -l)" 1
same "states" "$(for run in jei-1 jei-2 linear-1 linear-2; do hash_of out/$run; done | sort -u | wc -l)" 4

# Called again, nothing is trained again but what is asked anew.
ls -i out/*/summary.json >before
compare --methods jei,linear
same "code of the second call: $(cat err)" $code 0
same "runs made again" "$(ls -i out/*/summary.json | diff before -)" ""

compare --methods jei,nonsense
same "code with a method that is not there" $code 2
grep -q 'nonsense: expected some of jei, ' err || fail "what is said: $(cat err)"
compare --methods jei --set no_such_setting=1
same "code of a run that is refused" $code 1
grep -q 'ended with 78' err || fail "what is said: $(cat err)"
