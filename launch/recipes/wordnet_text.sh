#!/bin/sh
# wordnet_text.sh OUT: plain English for a small language model: the entries of WordNet with their examples,
#
#   physical object, object: a tangible and visible entity; "it was full of rackets, balls and other objects"
#
# a line each, shuffled. Writes OUT/train.txt and OUT/test.txt, every fiftieth entry, out of Debian's package
# wordnet-base. The same bytes on every machine.
#
# Exit codes: 0; 2 command line; 66 the package is missing; 74 OUT cannot be written.
set -eu
LC_ALL=C
export LC_ALL
from=${WORDNET_DIR:-/usr/share/wordnet}

if [ $# -ne 1 ]; then
    echo "usage: wordnet_text.sh OUT" >&2
    exit 2
fi
out=$1
for part in noun verb adj adv; do
    if [ ! -r "$from/data.$part" ]; then
        echo "wordnet_text: $from/data.$part: no such file; apt-get install wordnet-base" >&2
        exit 66
    fi
done
mkdir -p "$out" || exit 74
made=$(mktemp -d "$out/.wordnet.XXXXXX") || exit 74
trap 'rm -rf "$made"' EXIT
trap 'exit 1' HUP INT TERM

# A line of data: offset, file number, type, how many words in hexadecimal, the words, each with a
# number behind it, ..., " | ", gloss (wndb(5WN)). Lines of the licence begin with blanks.
cat "$from/data.noun" "$from/data.verb" "$from/data.adj" "$from/data.adv" |
    awk -v train="$made/train" -v test="$made/test" '
    BEGIN { key = 1 }
    /^ / { next }
    {
        at = index($0, " | ")
        high = index("0123456789abcdef", substr($4, 1, 1)) - 1
        low = index("0123456789abcdef", substr($4, 2, 1)) - 1
        if (at == 0 || length($4) != 2 || high < 0 || low < 0)
            next
        entry = ""
        for (i = 0; i < 16 * high + low; i++) {
            word = $(5 + 2 * i)
            sub(/\([a-z]+\)$/, "", word) # where an adjective may stand
            gsub(/_/, " ", word)
            entry = entry (i == 0 ? "" : ", ") word
        }
        gloss = substr($0, at + 3)
        gsub(/[ \t]+/, " ", gloss)
        sub(/^ /, "", gloss)
        sub(/ $/, "", gloss)
        # S. Park and K. Miller, "Random Number Generators: Good Ones Are Hard to Find", 1988: no key twice.
        key = key * 16807 % 2147483647
        print key "\t" entry ": " gloss > (++count % 50 == 0 ? test : train)
    }' || exit 74
for part in train test; do
    sort -n "$made/$part" | cut -f 2- >"$made/$part.txt" || exit 74
    mv "$made/$part.txt" "$out/$part.txt" || exit 74
done
echo "$out: $(($(wc -l <"$out/train.txt"))) entries to train on, $(($(wc -l <"$out/test.txt"))) to test," \
    "$(($(cat "$out/train.txt" "$out/test.txt" | wc -c))) bytes"
