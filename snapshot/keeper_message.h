/*
 * snapshot/keeper_message.h - what a rank and the keeper of its node say to each other.
 *
 * One message is one packet of a UNIX socket, FOLDER/keeper.sock, between processes of one user
 * on one machine; a packet of another size or format ends the connection.
 *
 *      rank     HELLO rank                     I belong to the job of this folder
 *      keeper   READY
 *      rank     RESERVE text bytes             make the file FOLDER/text with all its pages
 *      keeper   RESERVED code text
 *      rank     SAVE text version              write that version of member file `text` to disk
 *      keeper   TAKEN code text                I have a copy of it, or why not
 *      keeper   SAVED version code text        to rank 0, any time later: a checkpoint is, or is not, whole
 *      rank     GOODBYE                        the job is finished; the answer is the end of the connection
 *
 * A connection that ends without GOODBYE is a rank that died.
 */
#ifndef SNAPSHOT_KEEPER_MESSAGE_H
#define SNAPSHOT_KEEPER_MESSAGE_H

#include <stdint.h>

enum { KEEPER_FORMAT = 1, KEEPER_TEXT_BYTES = 512 };

#define KEEPER_SOCKET "keeper.sock"
#define KEEPER_LOCK "keeper.lock"
#define KEEPER_LOG "keeper.log"

enum keeper_kind {
    KEEPER_HELLO,
    KEEPER_READY,
    KEEPER_RESERVE,
    KEEPER_RESERVED,
    KEEPER_SAVE,
    KEEPER_TAKEN,
    KEEPER_SAVED,
    KEEPER_GOODBYE,
    KEEPER_KINDS,
};

struct keeper_message {
    uint32_t format;
    uint32_t kind;
    int32_t rank;
    int32_t code; /* enum err */
    uint64_t version, bytes;
    double seconds;
    char text[KEEPER_TEXT_BYTES]; /* NUL-terminated */
};

#endif
