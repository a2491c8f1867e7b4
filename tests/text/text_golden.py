"""text_golden.py FOLDER IDS_MAX FILE: Hugging Face's ids of the lines of a FILE of cases, a line each."""
import sys

from text_compare import hugging_face, text_of


def main():
    folder, ids_max, path = sys.argv[1:]
    tokenizer = hugging_face(folder)
    with open(path, "rb") as file:
        for line in file.read().split(b"\n")[:-1]:
            ids = tokenizer(text_of(line), truncation=True, max_length=int(ids_max))["input_ids"]
            print(*ids)


if __name__ == "__main__":
    main()
