#include "launch/report/report_figure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/report/report_gnuplot.h"

enum {
    WIDTH = 600,
    WIDTH_WIDE = 1200,
    HEIGHT = 330,
    MARGIN = 80,      /* beside the key */
    LINE_HEIGHT = 19, /* of the key */
    LETTER_WIDTH = 8,
    SAMPLE_WIDTH = 50, /* of an entry's line and point */
};

/* Of M. Okabe and K. Ito, "Color Universal Design", 2002; the last is a grey of ours. */
static const char *const COLOURS[FIGURE_COLOURS] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                    "#E69F00", "#56B4E9", "#8A6F00", "#777777"};

/* Nine steps of viridis, which its authors made to be read in grey and by the colour-blind. */
static const unsigned char VIRIDIS[][3] = {{68, 1, 84},    {71, 44, 122},  {59, 81, 139},
                                           {44, 113, 142}, {33, 144, 141}, {39, 173, 129},
                                           {92, 200, 99},  {170, 220, 50}, {253, 231, 37}};

const char *figure_colour(int index)
{
    return COLOURS[index % FIGURE_COLOURS];
}

void figure_ordered_colour(int i, int n, char colour[8])
{
    const int steps = (int)(sizeof(VIRIDIS) / sizeof(VIRIDIS[0])) - 1;
    const double at = 0.04 + 0.74 * (n < 2 ? 0.5 : (double)i / (n - 1)); /* ends are too faint */
    const int step = (int)(at * steps);
    const double part = at * steps - step;
    int parts[3];

    for (int c = 0; c < 3; c++) {
        parts[c] = (int)lround((1 - part) * VIRIDIS[step][c] + part * VIRIDIS[step + 1][c]);
    }
    snprintf(colour, 8, "#%02X%02X%02X", (unsigned)parts[0] & 255U, (unsigned)parts[1] & 255U,
             (unsigned)parts[2] & 255U);
}

int figure_point(int index)
{
    static const int points[] = {7, 5, 9, 11, 13, 6, 4, 8};

    return points[index % (int)(sizeof(points) / sizeof(points[0]))];
}

void figure_begin(struct figure *figure, const char *id, const char *title, bool is_wide,
                  int height)
{
    *figure = (struct figure){
        .id = id, .title = title, .is_wide = is_wide, .height = height == 0 ? HEIGHT : height};
}

void figure_key(struct figure *figure, const char *label)
{
    const int letters = (int)strlen(label);

    figure->key_count++;
    figure->key_longest = letters > figure->key_longest ? letters : figure->key_longest;
}

/* What all figures share. The size is that of the page: so letters come out as large as those around them. */
static void add_head(const struct figure *figure, struct report_text *commands)
{
    const int width = figure->is_wide ? WIDTH_WIDE : WIDTH;
    const int fitting = (width - MARGIN) / (figure->key_longest * LETTER_WIDTH + SAMPLE_WIDTH);
    const int columns = fitting < 1 ? 1 : fitting;
    const int rows = (figure->key_count + columns - 1) / columns;

    report_text_add(
        commands,
        "set terminal svg size %d,%d dynamic font 'sans-serif,14' name '%s' noenhanced\n"
        "set encoding utf8\n"
        "set border 3 lw 1\n"
        "set tics nomirror out scale 0.6\n"
        "set grid x y back lt 1 lc rgb '#D0D0D0' lw 0.6\n"
        "set key below center horizontal Left reverse samplen 2.4 spacing 1.15\n"
        "set bars 0.5\n"
        "set autoscale fix\n"
        "set xlabel offset 0, 0.5\n"
        "set ylabel offset 0.5, 0\n"
        "set offsets graph 0.03, graph 0.03, graph 0.05, graph 0.05\n",
        width, figure->height + rows * LINE_HEIGHT, figure->id);
}

void figure_drop(struct figure *figure)
{
    report_text_release(&figure->about);
    report_text_release(&figure->commands);
    report_text_release(&figure->table);
}

static enum err draw(const struct figure *figure, struct report_text *page)
{
    ERR_TRY(report_text_check(&figure->about));
    ERR_TRY(report_text_check(&figure->commands));
    ERR_TRY(report_text_check(&figure->table));
    struct report_text commands = {0};
    add_head(figure, &commands);
    report_text_bytes(&commands, figure->commands.bytes == NULL ? "" : figure->commands.bytes,
                      figure->commands.count);
    report_text_add(page, "<figure id=\"%s\"%s>\n<figcaption><b>%s.</b> %s</figcaption>\n",
                    figure->id, figure->is_wide ? " class=\"wide\"" : "", figure->title,
                    figure->about.bytes == NULL ? "" : figure->about.bytes);
    report_text_add(page, "<div class=\"plot\" role=\"img\" aria-label=\"%s\">\n", figure->title);
    enum err status = report_text_check(&commands);
    if (status == ERR_OK) {
        status = report_gnuplot(&commands, figure->id, page);
    }
    report_text_release(&commands);
    if (status != ERR_OK) {
        return err_failed_(err_context_(status, "figure %s", figure->id));
    }
    report_text_add(page,
                    "</div>\n<details><summary>Numbers</summary><div class=\"scroll\">\n"
                    "<table>\n%s</table></div></details>\n</figure>\n",
                    figure->table.bytes == NULL ? "" : figure->table.bytes);
    return ERR_OK;
}

enum err figure_end(struct figure *figure, struct report_text *page)
{
    const enum err status = draw(figure, page);

    figure_drop(figure);
    return status;
}

void figure_missing(struct report_text *page, const char *id, const char *title, const char *why)
{
    report_text_add(page, "<p class=\"missing\" id=\"%s\"><b>%s.</b> %s</p>\n", id, title, why);
}

void figure_head(struct report_text *table, const char *const *names, int count)
{
    report_text_add(table, "<thead><tr>");
    for (int i = 0; i < count; i++) {
        report_text_add(table, "<th>");
        report_text_escaped(table, names[i]);
        report_text_add(table, "</th>");
    }
    report_text_add(table, "</tr></thead>\n");
}

void figure_words(struct report_text *table, const char *words)
{
    report_text_add(table, "<td>");
    report_text_escaped(table, words);
    report_text_add(table, "</td>");
}

void figure_number(struct report_text *table, double value, double scale, int digits)
{
    if (isfinite(value)) {
        report_text_add(table, "<td class=\"n\" data-value=\"%.17g\">%.*f</td>", value, digits,
                        scale * value);
    } else {
        report_text_add(table, "<td class=\"n\">\xe2\x80\x93</td>");
    }
}

void figure_stat(struct report_text *table, const struct report_stat *stat, double scale,
                 int digits)
{
    const double mean = report_stat_mean(stat), spread = report_stat_spread(stat);

    if (!isfinite(spread)) {
        figure_number(table, mean, scale, digits);
        return;
    }
    report_text_add(table,
                    "<td class=\"n\" data-value=\"%.17g\" data-spread=\"%.17g\">%.*f \xc2\xb1 %.*f"
                    "</td>",
                    mean, spread, digits, scale * mean, digits, scale * spread);
}

void figure_worth(struct report_text *table, const struct report_point *point)
{
    report_text_add(table, "<td class=\"n\">%d</td>", point->run_count);
    figure_stat(table, &point->accuracy, 100, 2);
    figure_stat(table, &point->mean_macs, 1e-6, 2);
    figure_stat(table, &point->macs_share, 100, 1);
    figure_stat(table, &point->ms_per_sample, 1, 3);
    figure_stat(table, &point->ece, 100, 2);
}
