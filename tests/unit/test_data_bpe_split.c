/* Unit tests of data/data_bpe_split.c, against what the regular expression matches. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "data/data_bpe_split.h"
#include "tests/support/test_suite.h"

/* The words of `text` with a bar between, as Python's re.findall would list them. */
static void splits(const char *text, const char *expected)
{
    char found[256] = "";

    for (size_t at = 0; at < strlen(text);) {
        const size_t end = data_bpe_split(text, strlen(text), at);
        const size_t used = strlen(found);
        ck_assert_uint_gt(end, at);
        ck_assert_uint_le(end, strlen(text));
        snprintf(found + used, sizeof(found) - used, "%s%.*s", at == 0 ? "" : "|", (int)(end - at),
                 text + at);
        at = end;
    }
    ck_assert_str_eq(found, expected);
}

START_TEST(split__gives_a_blank_to_the_word_behind_it)
{
    splits("Hello world", "Hello| world");
    splits(" a 1 !", " a| 1| !");
    splits("ab12!?cd", "ab|12|!?|cd");
    splits("a b\tc", "a| b|\t|c");
}
END_TEST

START_TEST(split__leaves_the_last_of_white_space_for_the_word)
{
    splits("a   b", "a|  | b");
    splits("a\n\nb", "a|\n|\n|b");
    splits("a \n b", "a| \n| b");
    splits("a  \tb", "a|  |\t|b");
    splits("a\xC2\xA0\xC2\xA0"
           "b",
           "a|\xC2\xA0|\xC2\xA0|b");
}
END_TEST

START_TEST(split__keeps_white_space_at_the_end_together)
{
    splits("a   ", "a|   ");
    splits("a ", "a| ");
    splits(" ", " ");
    splits("\n\n", "\n\n");
    splits("", "");
}
END_TEST

START_TEST(split__takes_contractions_of_lower_case_first)
{
    splits("it's we'll I'd", "it|'s| we|'ll| I|'d");
    splits("they've you're I'm don't", "they|'ve| you|'re| I|'m| don|'t");
    splits("IT'S 'sand 'x", "IT|'|S| '|sand| '|x");
    splits("'sand''t", "'s|and|''|t");
    splits("'l", "'|l");
}
END_TEST

START_TEST(split__knows_letters_and_numbers_of_all_scripts)
{
    splits("\xC3\xA9t\xC3\xA9\xC2\xBD\xE4\xB8\xAD", "\xC3\xA9t\xC3\xA9|\xC2\xBD|\xE4\xB8\xAD");
    splits("e\xCC\x81", "e|\xCC\x81"); /* a mark is no letter */
    splits("a\xFF\xFE"
           "b",
           "a|\xFF\xFE|b");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_bpe_split");
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, split__gives_a_blank_to_the_word_behind_it);
    tcase_add_test(tests, split__leaves_the_last_of_white_space_for_the_word);
    tcase_add_test(tests, split__keeps_white_space_at_the_end_together);
    tcase_add_test(tests, split__takes_contractions_of_lower_case_first);
    tcase_add_test(tests, split__knows_letters_and_numbers_of_all_scripts);
    suite_add_tcase(suite, tests);
    return suite;
}
