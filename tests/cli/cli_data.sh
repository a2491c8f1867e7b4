#!/bin/sh
# cli_data.sh OUT TRAIN TEST: a small data set for the runs of the tests, the first images of
# Fashion-MNIST: so many to train on and to test.
set -eu
from=/usr/share/datasets/fashion-mnist
to=$1

# cut_file FILE COUNT BYTES: the first COUNT items of BYTES each, behind a header that says so.
cut_file() {
    case $1 in *idx3*) header=16 rank=3 shape='\000\000\000\034\000\000\000\034' ;; *) header=8 rank=1 shape= ;; esac
    {
        printf "\\000\\000\\010\\00$rank\\000\\000\\$(printf '%03o' $(($2 / 256)))\\$(printf '%03o' $(($2 % 256)))$shape"
        gzip -dc "$from/$1.gz" 2>/dev/null | tail -c +$((header + 1)) | head -c $(($2 * $3))
    } >"$to/$1"
}

rm -rf "$to"
mkdir -p "$to"
cut_file train-images-idx3-ubyte "$2" 784
cut_file train-labels-idx1-ubyte "$2" 1
cut_file t10k-images-idx3-ubyte "$3" 784
cut_file t10k-labels-idx1-ubyte "$3" 1
