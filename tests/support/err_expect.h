/* tests/support/err_expect.h - what a call returned, with its message when it is another. */
#ifndef TESTS_SUPPORT_ERR_EXPECT_H
#define TESTS_SUPPORT_ERR_EXPECT_H

#include <check.h>
#include <string.h>

#include "comm/base/err.h"

#define EXPECT_OK(call)                                                                            \
    do {                                                                                           \
        char expect_text_[1024];                                                                   \
        const enum err expect_code_ = (call);                                                      \
        if (expect_code_ != ERR_OK) {                                                              \
            err_text(expect_text_, sizeof(expect_text_));                                          \
            ck_abort_msg("%s: %s: %s", #call, err_phrase(expect_code_), expect_text_);             \
        }                                                                                          \
    } while (0)

/* `call` fails with `code`, and its message is one line that has `part` in it. */
#define EXPECT_ERR(call, code, part)                                                               \
    do {                                                                                           \
        char expect_text_[1024];                                                                   \
        const enum err expect_code_ = (call);                                                      \
        if (expect_code_ == ERR_OK) {                                                              \
            ck_abort_msg("%s: succeeded, %s was expected", #call, err_phrase(code));               \
        }                                                                                          \
        err_text(expect_text_, sizeof(expect_text_));                                              \
        if (expect_code_ != (code) || strstr(expect_text_, (part)) == NULL ||                      \
            strchr(expect_text_, '\n') != NULL) {                                                  \
            ck_abort_msg("%s: %s: \"%s\", expected %s with \"%s\"", #call,                         \
                         err_phrase(expect_code_), expect_text_, err_phrase(code), (part));        \
        }                                                                                          \
        err_clear();                                                                               \
    } while (0)

#endif
