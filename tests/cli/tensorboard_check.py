"""tensorboard_check.py RUN STEPS EVERY: TensorBoard has of every EVERY-th step up to STEPS the numbers of metrics.jsonl,
and nothing else."""
import json
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def expected_of(record):
    """{tag: value} of a line."""
    values = {"loss/end": record["loss"], "accuracy/end": record["accuracy"],
              "throughput/samples_per_s": record["samples_per_s"]}
    for prefix, group in (("", "backbone"), ("head_", "heads"), ("gate_", "gates")):
        for key in ("learning_rate", "grad_norm"):
            if prefix + key in record:
                values[f"{key}/{group}"] = record[prefix + key]
    for entry in record.get("exits", []):
        where = f"lambda_{entry['lambda']:.9g}"
        for key in ("head_loss", "gate_loss", "cost"):
            values[f"{key}/{where}"] = entry[key]
        last = len(entry["loss"]) - 1
        for g in range(last):
            values[f"loss/{where}/exit_{g + 1}"] = entry["loss"][g]
            values[f"accuracy/{where}/exit_{g + 1}"] = entry["accuracy"][g]
        for g in range(last + 1):
            values[f"exit_share/{where}/" + ("end" if g == last else f"exit_{g + 1}")] = entry["share"][g]
    return {tag: float32(value) for tag, value in values.items() if value is not None}


run, steps, every = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
expected = {}
for line in open(f"{run}/metrics.jsonl", encoding="utf-8"):
    record = json.loads(line)
    if record["step"] % every == 0:
        for tag, value in expected_of(record).items():
            expected.setdefault(tag, []).append((record["step"], value))
assert [step for step, _ in expected["loss/end"]] == list(range(every, steps + 1, every))

stalls = [json.loads(line) for line in open(f"{run}/events.jsonl", encoding="utf-8")]
stalls = [(event["step"], float32(event["stall_s"])) for event in stalls if event["event"] == "snapshot.committed"]
if stalls:
    expected["snapshot/stall_s"] = stalls

accumulator = EventAccumulator(f"{run}/tensorboard", size_guidance={"scalars": 0})
accumulator.Reload()
found = {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
         for tag in accumulator.Tags()["scalars"] if tag != "snapshot/lag_s"}
assert set(found) == set(expected), set(found) ^ set(expected)
for tag in expected:
    assert found[tag] == expected[tag], (tag, found[tag][:5], expected[tag][:5])
print(f"{len(found)} tags, {sum(map(len, found.values()))} values")
