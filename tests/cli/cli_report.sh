#!/bin/sh
# `offramp report`: pages of runs that finished, of several seeds and methods, of runs of which nearly everything is
# missing, and of damaged ones. A parser of HTML and Chromium read them.
. "$(dirname "$0")/cli_run.sh"

check="$(dirname "$self")/report_check.py"
for program in gnuplot python3; do
    if ! command -v $program >/dev/null; then
        echo "SKIPPED: $program is not installed" >&2
        exit 77
    fi
done
report() { # report CODE ARGUMENT...
    expected=$1
    shift
    code=0
    "$offramp" report "$@" >said 2>err || code=$?
    same "code of report $*: $(cat said err)" "$code" "$expected"
}
says() { # says PATTERN: one line on stderr, and it is that
    same "lines on stderr: $(cat err)" "$(wc -l <err)" 1
    grep -Eq "^offramp: .*$1" err || fail "no '$1' in: $(cat err)"
}
checked() { # checked PAGE SUMMARY...
    python3 "$check" "$@" >checked || fail "$*: $(cat checked)"
}

# Wrong calls, and what is no run.
report 2
report 2 a --outptu b
report 66 nowhere
says "nowhere: "
report 66 "$scratch"
says "no output_dir of a run"

# One run, with a name that would be markup, a command of gnuplot's or of a shell's.
odd="$scratch/a<b onclick=x>&'\"\`touch pwned\`"
train_well 1 "$odd" --set snapshot_steps=5 --set max_eval_samples=200 --set timing_samples=50
report 0 "$odd/"
same "what is said" "$(cat said)" "$odd/report.html"
checked "$odd/report.html" "$odd/summary.json"
grep -q '^figures: macs macs_near time .*exits .*losses gate_losses throughput timeline1$' checked || fail "$(cat checked)"
[ ! -e pwned ] || fail "a name was run as a command"
mv "$odd" one
mv "$odd.out" one.out

# Three seeds of one method, joined; another method beside it.
for seed in 7 8; do
    train_well 1 seed$seed --set seed=$seed --set max_eval_samples=200 --set timing_samples=50
done
report 0 one seed7 seed8 --output seeds.html
checked seeds.html one/summary.json seed7/summary.json seed8/summary.json
grep -q "<h1>3 runs, methods: 1</h1>" seeds.html || fail "seeds are not joined"
train_well 1 other --set exit_loss=uncertainty --set max_eval_samples=200 --set timing_samples=0
report 0 one seed7 other --output methods.html
grep -q "<h1>3 runs, methods: 2</h1>" methods.html || fail "methods are not told apart"
grep -q "exit_loss uncertainty" methods.html || fail "what tells methods apart is not named"
report 0 other
checked other/report.html other/summary.json
grep -q '^missing: .*time' checked || fail "times of a run without: $(cat checked)"

# Results in full: exit rules at budgets and risks, bins of confidence, classes.
fill() { # fill RUN: results.json, made of its summary
    python3 - "$1" <<'END'
import json, sys
results = json.load(open(sys.argv[1] + "/summary.json"))
for entry in results["lambdas"]:
    for row in entry["rows"]:
        row["reliability"] = [{"n": 0, "confidence": 0, "accuracy": 0},
                              {"n": 150, "confidence": 0.51, "accuracy": row["accuracy"]},
                              {"n": 50, "confidence": 0.9375, "accuracy": 0.875}]
        row["classes"] = [{"n": 20, "full_correct": 10 + k % 3, "early_correct": 10 - k % 2} for k in range(10)]
    last = entry["rows"][-2]
    entry["policies"] = [dict(last, policy="max_prob/free", budget=b, budget_unit="macs", macs_share=b) for b in (0.5, 0.8)]
    entry["policies"] += [dict(last, policy="max_prob/free", budget=0.5, budget_unit="ms")]
    entry["policies"] += [dict(last, policy="risk/control", risk=r, accuracy=last["accuracy"] - r) for r in (0.01, 0.1)]
    entry["promises"] = [{"rule": "risk", "risk": 0.1, "miscoverage": 0.125, "band_low": 0.05, "band_high": 0.12, "kept": False}]
    entry["promises"] += [{"rule": "conformal", "risk": 0.1, "exits": [
        {"exit": e, "class": "wrong", "miscoverage": 0.0625, "band_low": 0.05, "band_high": 0.12, "kept": True}
        for e in range(2)]}]
    entry["baselines"] = [{"budget": b, "static_accuracy": 0.4, "random_accuracy": 0.5} for b in (0.5, 0.8)]
json.dump(results, open(sys.argv[1] + "/results.json", "w"))
END
}
fill one
fill seed7
report 0 one --output full.html
checked full.html one/summary.json
grep -q "4 of 6 promises were kept" full.html || fail "promises: $(grep promises full.html)"
grep -q '^figures: .*time reliability rules1 exits classes' checked || fail "$(cat checked)"
report 0 one seed7 --output full.html
checked full.html one/summary.json seed7/summary.json
cp one/results.json kept.json
printf '{"lambdas": [' >one/results.json
report 65 one
says "one/results.json: line 1"
cp kept.json one/results.json

# Whatever a document says, as long as it is one: a page comes of it, and its numbers are numbers.
for seed in 1 2 3 4 5 6 7 8; do
    rm -rf odd
    cp -r seed7 odd
    python3 "$(dirname "$self")/report_scramble.py" odd $seed
    report 0 odd
    checked odd/report.html
done

# Looked at by a browser, light and dark.
if command -v chromium >/dev/null; then
    shot() { # shot NAME SCHEME COLOUR
        HOME=$scratch timeout 120 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
            --user-data-dir="$scratch/browser" --blink-settings=preferredColorScheme="$2" \
            --window-size=1280,2400 --screenshot="$scratch/$1.png" "file://$scratch/seeds.html" >browser.out 2>&1 ||
            fail "chromium ended with $?: $(cat browser.out)"
        python3 "$check" --shot "$1.png" "$3" || fail "picture of a page: $1"
    }
    shot light 1 255,255,255
    shot dark 0 21,23,26
fi

# Damaged: the file and the line, and no page.
rm -rf other/report.html
cp other/summary.json kept.json
printf '{"verdict": "fin' >other/summary.json
report 65 one other --output none.html
says "other/summary.json: line 1"
cp kept.json other/summary.json
sed -i '3s/.*/{"step": 3, "sta/' other/metrics.jsonl
report 65 other
says "other/metrics.jsonl, line 3 of the file"
[ ! -e none.html ] && [ ! -e other/report.html ] || fail "a page of a damaged run"

# Missing or cut off: a sentence each, and a page.
for file in metrics.jsonl events.jsonl results.json summary.json run.json; do
    rm other/$file
    report 0 other
done
rm -r other/checkpoint-* other/incarnation
printf 'no_such_setting: 1\n' >>other/config.resolved.yaml
report 0 other
checked other/report.html
same "figures of a run without files" "$(grep ^figures: checked)" "figures:"
grep -q "not understood: .*no_such_setting" other/report.html || fail "settings of another version"
printf '{"step": 99999, "sta' >>one/metrics.jsonl # the writer was cut off, or is at it
report 0 one
checked one/report.html one/summary.json

# What the page is made with, or goes to, is not there.
report 74 one --output nowhere/page.html
says nowhere
code=0
(PATH=$scratch && "$offramp" report one >said 2>err) || code=$?
same "code without gnuplot" $code 66
says "gnuplot.* is not installed: apt-get install gnuplot-nox"
printf '#!/bin/sh\necho first >&2; echo broken >&2; exit 3\n' >gnuplot
chmod +x gnuplot
code=0
(PATH=$scratch:$PATH && "$offramp" report one >said 2>err) || code=$?
same "code where gnuplot fails" $code 70
says "gnuplot ended with 3: broken"

if ! command -v chromium >/dev/null; then
    echo "SKIPPED: chromium is not installed: pages were read, and not looked at" >&2
    exit 77
fi
