"""text_compare.py PROGRAM FOLDER IDS_MAX FILE...: ids of text_ids against Hugging Face's, line by line.

A line of a FILE is a text, in which \\xHH is a byte. Ends with 1 at the first lines that differ, of which
the texts and both lists of ids are shown.
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


def main():
    program, folder, ids_max, *paths = sys.argv[1:]
    tokenizer = hugging_face(folder)
    different = 0
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        lines = data.split(b"\n")[:-1]
        ours = subprocess.run([program, folder, ids_max], input=data, stdout=subprocess.PIPE, check=True)
        ours = ours.stdout.decode().split("\n")[:-1]
        assert len(ours) == len(lines), (len(ours), len(lines))
        theirs = tokenizer([text_of(line) for line in lines], truncation=True, max_length=int(ids_max))
        for number, (line, a, b) in enumerate(zip(lines, ours, theirs["input_ids"]), 1):
            if a != " ".join(map(str, b)):
                different += 1
                if different <= 10:
                    print(f"{path}: line {number}: {line!r}\n  ours   {a}\n  theirs {' '.join(map(str, b))}")
        print(f"{path}: {len(lines)} texts, {sum(map(len, theirs['input_ids']))} ids")
    print(f"{different} differ from transformers {transformers.__version__}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
