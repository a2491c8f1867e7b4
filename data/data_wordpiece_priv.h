/* data/data_wordpiece_priv.h - between data_wordpiece.c and data_wordpiece_file.c only. */
#ifndef DATA_DATA_WORDPIECE_PRIV_H
#define DATA_DATA_WORDPIECE_PRIV_H

#include "data/data_wordpiece.h"

/* As they are written in a text and in a vocabulary. */
extern const char *const data_wordpiece_special_names[DATA_WORDPIECE_SPECIALS];

#endif
