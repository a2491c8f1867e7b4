"""report_scramble.py RUN SEED: replaces and removes values at random in the documents of a run; all stays JSON."""
import json
import os
import random
import sys

VALUES = [None, 0, -1, 1e300, -1e300, 1e-320, 12345678901234, "x", "", True, [], {}, [1, 2], {"a": 1}]


def scramble(doc, chance, often):
    if isinstance(doc, dict):
        for key in list(doc):
            if chance.random() >= often:
                scramble(doc[key], chance, often)
            elif chance.random() < 0.3:
                del doc[key]
            else:
                doc[key] = chance.choice(VALUES)
    elif isinstance(doc, list):
        for i, value in enumerate(doc):
            if chance.random() < often:
                doc[i] = chance.choice(VALUES)
            else:
                scramble(value, chance, often)


run, chance = sys.argv[1], random.Random(int(sys.argv[2]))
often = chance.choice([0.003, 0.02, 0.1, 0.4])
for name in ("summary.json", "results.json", "run.json", "metrics.jsonl", "events.jsonl"):
    path = os.path.join(run, name)
    text = open(path, encoding="utf-8").read()
    docs = [json.loads(line) for line in text.splitlines()] if name.endswith("l") else [json.loads(text)]
    if chance.random() < 0.7:
        for doc in docs:
            scramble(doc, chance, often)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(doc) + "\n" for doc in docs)
