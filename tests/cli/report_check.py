"""Holds a page of `offramp report` to what it promises: a parser of HTML reads it, it asks nothing of a network or
of a script, and the numbers in its tables are those of the runs' summary.json, or results.json beside it.

    report_check.py PAGE [SUMMARY...]    all runs are seeds of one method
    report_check.py --shot PNG R,G,B     a picture of a page, on a background of that colour
"""
import html.parser
import json
import math
import os
import re
import statistics
import struct
import sys
import zlib

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.tables, self.pres, self.text = [], [], {}, [], []
        self.figures, self.missing, self.refs, self.csp, self.svgs = [], [], [], "", 0

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert tag != "script", "a script"
        assert not any(name.startswith("on") for name in attrs), attrs
        if "id" in attrs:
            self.ids.append(attrs["id"])
        for name in ("href", "src", "xlink:href", "srcset", "data", "action"):
            if name in attrs:
                self.refs.append(attrs[name])
        if tag == "figure":
            self.figures.append(attrs["id"])
        if tag == "svg":
            self.svgs += 1
        if attrs.get("class") == "missing" and "id" in attrs:
            self.missing.append(attrs["id"])
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.csp = attrs["content"]
        if tag == "table":
            owner = attrs.get("id", self.figures[-1] if "figure" in self.open else "files")
            self.rows = self.tables.setdefault(owner, [])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append({"text": "", "value": attrs.get("data-value"),
                                  "spread": attrs.get("data-spread")})
        if tag == "pre":
            self.pres.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> in {self.open} at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1]["text"] += data
        if "pre" in self.open:
            self.pres[-1] += data


def read(path):
    page = Page()
    with open(path, encoding="utf-8") as file:
        page.feed(file.read())
    page.close()
    assert page.open == [], page.open
    assert len(set(page.ids)) == len(page.ids), sorted(i for i in page.ids if page.ids.count(i) > 1)
    assert page.csp.startswith("default-src 'none'"), page.csp
    for ref in page.refs:
        assert ref.startswith("#") and ref[1:] in page.ids, f"a reference to {ref}"
    assert page.svgs == len(page.figures), (page.svgs, page.figures)
    return page


def same(what, cell, values, scale, digits):
    """The cell has the value, or mean and spread, to the last bit or nearly; and shows them rounded."""
    values = [value for value in values if value is not None]
    if not values:
        assert cell["value"] is None and cell["text"] == "\u2013", (what, cell)
        return
    mean = statistics.fmean(values)
    if len(values) == 1:
        assert float(cell["value"]) == values[0], (what, cell, values)
        shown = f"{scale * values[0]:.{digits}f}"
    else:
        spread = statistics.stdev(values)
        assert math.isclose(float(cell["value"]), mean, rel_tol=1e-12), (what, cell, values)
        assert math.isclose(float(cell["spread"]), spread, rel_tol=1e-9, abs_tol=1e-15), (what, cell)
        shown = f"{scale * float(cell['value']):.{digits}f} \u00b1 {scale * float(cell['spread']):.{digits}f}"
    assert cell["text"] == shown, (what, cell, shown)


def expected_points(summaries):
    """{(policy, lambda): [row of each run]}; where all leave at one exit, lambda is ""."""
    points = {}
    for summary in summaries:
        for entry in summary.get("lambdas", []):
            for row in entry["rows"]:
                fixed = row["policy"] == "end" or row["policy"].startswith("exit ")
                key = (row["policy"], "" if fixed else f"{entry['lambda']:g}")
                points.setdefault(key, []).append(row)
    return points


def check_numbers(page, summaries, results):
    points = expected_points(results)
    for table in ("macs", "macs_near", "time"):
        if table not in page.tables:
            continue
        head, rows = page.tables[table][0], page.tables[table][1:]
        timed = {k for k, v in points.items() if any(r["ms_per_sample"] is not None for r in v)}
        expected = timed if table == "time" else set(points)
        assert {(r[1]["text"], r[2]["text"]) for r in rows} == expected, (table, rows)
        assert len(rows) == len(expected), table
        for row in rows:
            assert len(row) == len(head), (head, row)
            key = (row[1]["text"], row[2]["text"])
            found = points[key]
            assert row[3]["text"] == str(len(found)), (key, row[3])
            for column, (name, scale, digits) in enumerate(
                    (("accuracy", 100, 2), ("mean_macs", 1e-6, 2), ("macs_share", 100, 1),
                     ("ms_per_sample", 1, 3), ("ece", 100, 2)), 4):
                same(f"{table} {key} {name}", row[column], [r[name] for r in found], scale, digits)
    for row in page.tables.get("exits", [])[1:]:
        found = points[(row[1]["text"], row[2]["text"])]
        for g in range(len(found[0]["exits"])):
            same(f"share of {row[1]['text']}", row[3 + g], [r["exits"][g]["share"] for r in found], 100, 1)
    check_summary(page, summaries)
    check_bins_and_classes(page, points)
    check_rules(page, results)
    check_promises(page, results)


def check_summary(page, summaries):
    rows = page.tables["summary"][1:]
    assert len(rows) == len(summaries)
    for row, summary in zip(rows, summaries):
        same("step", row[3], [summary.get("step")], 1, 0)
        same("ranks", row[4], [summary.get("world_size")], 1, 0)
        same("accuracy", row[6], [summary.get("test_accuracy")], 100, 2)
        assert row[8]["text"] == summary.get("state_hash", ""), row[8]


def check_bins_and_classes(page, points):
    """Of the first run that has them: as they are."""
    rows = page.tables.get("reliability", [])[1:]
    bins = [b for found in points.values() for b in found[0].get("reliability", [])]
    assert sorted(float(r[5]["value"]) for r in rows if r[5]["value"]) == \
        sorted(b["confidence"] for b in bins if b["confidence"] is not None)
    rows = page.tables.get("classes", [])[1:]
    classes = [c for (policy, _), found in points.items() for c in found[0].get("classes", [])
               if policy not in ("end", "oracle") and not policy.startswith("exit ")]
    assert sorted(float(r[5]["value"]) for r in rows) == sorted(c["full_correct"] for c in classes)


def check_rules(page, results):
    """Every rule at every lambda, budget and risk, joined over the runs."""
    rules = {}
    for result in results:
        for entry in result.get("lambdas", []):
            for row in entry.get("policies", []):
                key = (row["policy"], entry["lambda"], row.get("budget"), row.get("budget_unit", ""), row.get("risk"))
                rules.setdefault(key, []).append(row)
    rows = page.tables.get("rules1", [[]])[1:]
    assert len(rows) == len(rules), (len(rows), len(rules))
    for row in rows:
        number = [None if row[i]["value"] is None else float(row[i]["value"]) for i in (1, 2, 4)]
        found = rules[(row[0]["text"], number[0], number[1], row[3]["text"], number[2])]
        for column, (name, scale, digits) in enumerate(
                (("accuracy", 100, 2), ("mean_macs", 1e-6, 2), ("macs_share", 100, 1),
                 ("ms_per_sample", 1, 3), ("ece", 100, 2)), 6):
            same(f"rule {row[0]['text']} {name}", row[column], [r[name] for r in found], scale, digits)


def check_promises(page, results):
    """Each outcome of each promise, in the order of the files."""
    expected = []
    for result in results:
        for entry in result.get("lambdas", []):
            for promise in entry.get("promises", []):
                expected += [(promise["risk"], outcome["miscoverage"], outcome["kept"])
                             for outcome in promise.get("exits", [promise])]
    found = [(float(row[5]["value"]), float(row[6]["value"]), row[9]["text"] == "kept")
             for row in page.tables.get("promises", [[]])[1:]]
    assert found == expected, (found[:5], expected[:5])


def check_shot(path, colour):
    """A page with something on it: many different lines of pixels, and the corner is the background."""
    with open(path, "rb") as file:
        png = file.read()
    assert png[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, form = struct.unpack(">IIBB", png[at + 8:at + 18])
        if kind == b"IDAT":
            data += png[at + 8:at + 8 + length]
        at += 12 + length
    assert depth == 8 and form in (2, 6), (depth, form)
    data = zlib.decompress(data)
    stride = 1 + width * (3 if form == 2 else 4)
    corner = tuple(data[1:4])  # the first pixel is itself under every filter
    assert corner == colour, (corner, colour)
    lines = {data[i * stride:(i + 1) * stride] for i in range(height)}
    assert len(lines) > height // 3, f"{len(lines)} different lines of {height}: nearly blank"


if sys.argv[1] == "--shot":
    check_shot(sys.argv[2], tuple(int(part) for part in sys.argv[3].split(",")))
else:
    opened = read(sys.argv[1])
    summaries = [json.load(open(path, encoding="utf-8")) for path in sys.argv[2:]]
    if summaries:
        full = [os.path.join(os.path.dirname(path), "results.json") for path in sys.argv[2:]]
        results = [json.load(open(path, encoding="utf-8")) if os.path.exists(path) else summary
                   for path, summary in zip(full, summaries)]
        check_numbers(opened, summaries, results)
    print("figures:", *opened.figures)
    print("missing:", *opened.missing)
    print("settings:", *(str(len(re.findall(r"^[a-z_]+: ", pre, re.M))) for pre in opened.pres))
