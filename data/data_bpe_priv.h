/* data/data_bpe_priv.h - between data_bpe.c and data_bpe_file.c only. */
#ifndef DATA_DATA_BPE_PRIV_H
#define DATA_DATA_BPE_PRIV_H

#include <stdint.h>

/* What parts one document from the next. */
#define DATA_BPE_END "<|endoftext|>"

/* The character that stands for a byte in a vocabulary: one that can be seen. */
int32_t data_bpe_character(int byte);

/* The byte that a character stands for, or -1. */
int data_bpe_byte(int32_t code);

#endif
