#!/bin/sh
# wordnet_data.sh OUT: a text classification task from WordNet: which of the 45 lexicographer files
# (lexnames(5WN): noun.animal, verb.motion, ...) a gloss comes from. Writes
#
#   OUT/train.tsv, OUT/test.tsv   label<TAB>gloss, without a header
#   OUT/labels.txt                a class a line, in the order of the file numbers
#
# out of Debian's package wordnet-base. A gloss is the definition alone: examples, which stand in double
# quotes, are taken out, as NLTK does. Of glosses that are equal the first is kept, so none is in both files;
# every tenth of a class, in the order of the database, is for the test. Then both files are shuffled, so that
# the first n lines of one are a fair part of it. The same bytes on every machine.
#
# Exit codes: 0; 2 command line; 66 the package is missing; 74 OUT cannot be written.
set -eu
LC_ALL=C
export LC_ALL
from=${WORDNET_DIR:-/usr/share/wordnet}

if [ $# -ne 1 ]; then
    echo "usage: wordnet_data.sh OUT" >&2
    exit 2
fi
out=$1
for part in noun verb adj adv; do
    if [ ! -r "$from/data.$part" ]; then
        echo "wordnet_data: $from/data.$part: no such file; apt-get install wordnet-base" >&2
        exit 66
    fi
done
mkdir -p "$out" || exit 74
made=$(mktemp -d "$out/.wordnet.XXXXXX") || exit 74
trap 'rm -rf "$made"' EXIT
trap 'exit 1' HUP INT TERM

cat >"$made/labels.txt" <<'LIST' || exit 74
adj.all
adj.pert
adv.all
noun.Tops
noun.act
noun.animal
noun.artifact
noun.attribute
noun.body
noun.cognition
noun.communication
noun.event
noun.feeling
noun.food
noun.group
noun.location
noun.motive
noun.object
noun.person
noun.phenomenon
noun.plant
noun.possession
noun.process
noun.quantity
noun.relation
noun.shape
noun.state
noun.substance
noun.time
verb.body
verb.change
verb.cognition
verb.communication
verb.competition
verb.consumption
verb.contact
verb.creation
verb.emotion
verb.motion
verb.perception
verb.possession
verb.social
verb.stative
verb.weather
adj.ppl
LIST

# A line of data: offset, file number, ..., " | ", gloss (wndb(5WN)). Lines of the licence begin with blanks.
cat "$from/data.noun" "$from/data.verb" "$from/data.adj" "$from/data.adv" |
    awk -v labels="$made/labels.txt" -v train="$made/train" -v test="$made/test" '
    BEGIN {
        key = 1
        while ((getline name < labels) > 0)
            names[class_count++] = name
    }
    /^ / { next }
    {
        at = index($0, " | ")
        if (at == 0 || $2 !~ /^[0-9][0-9]$/ || $2 + 0 >= class_count)
            next
        gloss = substr($0, at + 3)
        gsub(/"[^"]*"/, "", gloss)
        gsub(/[ \t]+/, " ", gloss)
        gsub(/; (; )+/, "; ", gloss)
        sub(/^[ ;]+/, "", gloss)
        sub(/[ ;:,]+$/, "", gloss)
        if (gloss == "" || gloss in seen)
            next
        seen[gloss] = 1
        class = $2 + 0
        # S. Park and K. Miller, "Random Number Generators: Good Ones Are Hard to Find", 1988: no key twice.
        key = key * 16807 % 2147483647
        print key "\t" names[class] "\t" gloss > (++count[class] % 10 == 0 ? test : train)
    }' || exit 74
for part in train test; do
    sort -n "$made/$part" | cut -f 2- >"$made/$part.tsv" || exit 74
done
for file in labels.txt train.tsv test.tsv; do
    mv "$made/$file" "$out/$file" || exit 74
done
echo "$out: $(($(wc -l <"$out/train.tsv"))) glosses to train on, $(($(wc -l <"$out/test.tsv"))) to test," \
    "$(($(wc -l <"$out/labels.txt"))) classes"
