"""text_train_bpe.py OUT SIZE FILE...: a byte-level BPE of SIZE tokens, trained on the FILEs: vocab.json, merges.txt."""
import os
import sys

from tokenizers import ByteLevelBPETokenizer


def main():
    out, size, *paths = sys.argv[1:]
    texts = []
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as file:
            texts.append(file.read())
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        texts, vocab_size=int(size), min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False
    )
    os.makedirs(out, exist_ok=True)
    tokenizer.save_model(out)


if __name__ == "__main__":
    main()
