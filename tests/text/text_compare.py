"""text_compare.py PROGRAM JOB...: ids of text_ids (PROGRAM) against Hugging Face's, line by line.

A JOB is FOLDER:IDS_MAX:FILE[:FILE...]. A line of a FILE is a text, in which \\xHH is a byte. Shows the first
lines that differ, with both lists of ids, and then ends with 1.
"""
import os
import re
import subprocess
import sys

import transformers


def text_of(line):
    raw = re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), line)
    return raw.decode("utf-8", errors="replace")


def hugging_face(folder):
    if os.path.exists(os.path.join(folder, "merges.txt")):
        return transformers.GPT2TokenizerFast.from_pretrained(folder)
    return transformers.BertTokenizerFast.from_pretrained(folder)


def compare(program, folder, ids_max, path):
    """How many lines of the file differ."""
    with open(path, "rb") as file:
        data = file.read()
    lines = data.split(b"\n")[:-1]
    ran = subprocess.run([program, folder, ids_max], input=data, stdout=subprocess.PIPE, check=True)
    ours = ran.stdout.decode().split("\n")[:-1]
    texts = [text_of(line) for line in lines]
    theirs = hugging_face(folder)(texts, truncation=True, max_length=int(ids_max))["input_ids"]
    assert len(ours) == len(theirs) == len(lines), (len(ours), len(theirs), len(lines))
    different = 0
    for number, (line, a, b) in enumerate(zip(lines, ours, (" ".join(map(str, ids)) for ids in theirs)), 1):
        different += a != b
        if a != b and different <= 3:
            print(f"line {number}: {line!r}\n  ours   {a}\n  theirs {b}")
    count = sum(map(len, theirs))
    print(f"{folder}, at most {ids_max}, {path}: {len(lines)} texts, {count} ids, {different} texts differ")
    return different


def main():
    program, *jobs = sys.argv[1:]
    different = 0
    for job in jobs:
        folder, ids_max, *paths = job.split(":")
        different += sum(compare(program, folder, ids_max, path) for path in paths)
    print(f"{different} differ from transformers {transformers.__version__}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
