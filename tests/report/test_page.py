"""A page holds everything, refers to nothing outside, and takes no name for its own."""

import base64
import itertools
import re
import struct
import warnings
import zlib
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from sensorium_jax.plots import runs as plots
from sensorium_jax.report import figures, frames, page
from sensorium_jax.report.contents import Runs, Time
from sensorium_jax.report.html import element, table
from sensorium_jax.scoring.tables import Comparison
from sensorium_jax.text import LONGEST, printable, short
from support import reports
from support.labels import overlaps
from support.reports import HOSTILE

FIGURES = (
    *("scores", "over_steps", "traces", "population"),
    *("over_cortex", "over_screen", "fields"),
)


class Parsed(HTMLParser):
    """Elements of a page with their attributes, and their words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.inside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "input"):
            self.inside.append(tag)
        self.tags.append((tag, dict(attributes)))

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag

    def handle_data(self, data):
        self.words.append((self.inside[-1] if self.inside else "", data))

    def named(self, *tags):
        return [a for tag, a in self.tags if tag in tags]


@pytest.fixture(scope="module")
def drawn():
    """A page, and the figures on it by the function that drew them."""
    seen = {}

    def kept(draw):
        def call(*args):
            seen.setdefault(draw.__name__, []).append(draw(*args))
            return seen[draw.__name__][-1]

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in FIGURES:
            patch.setattr(plots, name, kept(getattr(plots, name)))
        return page.one(reports.run()), seen


@pytest.fixture(scope="module")
def text(drawn):
    return drawn[0]


@pytest.fixture(scope="module")
def parsed(text):
    return Parsed(text)


def test_every_element_ends_where_it_should(parsed):
    assert parsed.inside == [] and parsed.tags[0][0] == "html"


def test_hostile_names_are_words_and_nothing_else(parsed):
    assert len(parsed.named("script")) == 1 and not parsed.named("img")
    assert not [k for _, a in parsed.tags for k in a if k.startswith("on")]
    said = "".join(w for tag, w in parsed.words if tag not in ("script", "style"))
    for name in HOSTILE:
        assert printable(name) in said
    assert "\x1b" not in said and "\u202e" not in said and "\udcff" not in said


def test_nothing_outside_the_page_is_asked_for(text, parsed):
    outside = re.findall(r"https?:|\bsrc=|url\((?!data:|#)", re.sub(r"&\w+;", "", text))
    # One of the names says src=x, as words.
    assert len(outside) == text.count("src=x")
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"] for _, a in parsed.tags if "href" in a]
    assert links and all(
        link[0] == "#" and link[1:] in ids or link.startswith("data:image/png")
        for link in links
    )


def test_only_its_own_script_may_run(text):
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{digest}&#x27;" in text


def test_every_figure_has_words_data_and_a_button(text, parsed):
    parts = re.findall(r"<figure>.*?</figure>", text, re.S)
    assert len(parts) >= 9
    for part in parts:
        inside = Parsed(part)
        (svg,) = inside.named("svg")
        assert svg["role"] == "img" and len(svg["aria-label"]) > 30
        assert inside.named("button")[-1]["data-save"].endswith(".svg")
        (rows,) = re.findall(r"<tbody>(.*?)</tbody>", part, re.S)
        heads = part.count('scope="col"')
        first = re.match(r"<tr>(.*?)</tr>", rows, re.S)[1]
        assert first.count("<th") + first.count("<td") == heads > 1
    names = [a["data-save"] for a in parsed.named("button") if "data-save" in a]
    assert len(names) == len(set(names)) == len(parts)


def test_what_can_be_reached_has_a_name(parsed):
    for attributes in parsed.named("input", "svg"):
        assert attributes["aria-label"]
    scrolling = [a for a in parsed.named("div") if a.get("class") == "scroll"]
    assert scrolling and all(
        a["tabindex"] == "0" and a["aria-label"] for a in scrolling
    )
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert max(b - a for a, b in itertools.pairwise(levels)) == 1


def contrast(one, other):
    """Of two colors as #rrggbb, by WCAG."""

    def light(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        line = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        ]
        return np.dot(line, (0.2126, 0.7152, 0.0722))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_words_and_marks_stand_out_in_both_schemes(text):
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6})", part))
        for part in text.split("@media (prefers-color-scheme: dark)")[:2]
    )
    assert set(light) == set(dark) > {"ink", "muted", "model", "linear"}
    for scheme in (light, dark):
        for name in set(scheme) - {"paper", "raised", "rule"}:
            assert contrast(scheme[name], scheme["paper"]) >= 4.5, name
        for ground in ("paper", "raised"):
            assert contrast(scheme["muted"], scheme[ground]) >= 4.5
    used = {n: c for n, c in re.findall(r"var\(--(\w+), (#\w{6})\)", text)}
    assert {"ink", "muted", "model", "linear", "rule"} <= set(used)
    assert used == {name: light[name] for name in used}


def test_it_is_small_and_the_same_every_time(text):
    assert len(text.encode()) < 1_500_000 < page.LARGEST
    run = reports.run()
    again = figures.figure(figures.traces(run.traces, run.time)).text
    assert len(again) > 10_000 and again in text


@pytest.mark.parametrize("name", FIGURES)
def test_no_words_are_cut_off_or_lie_over_others(drawn, name):
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of glyphs
        for figure in drawn[1][name]:
            assert overlaps(figure) == []


def test_words_over_others_are_found():
    figure = Figure()
    figure.text(0.5, 0.5, "some words")
    figure.text(0.5, 0.5, "others")
    figure.text(0.99, 0.2, "words without an end")
    bad = overlaps(figure)
    assert "some words / others" in bad and "words without an end" in bad


def test_several_runs_are_compared(parsed):
    runs = [reports.run(name=f"<{i}>", seed=i) for i in range(2)]
    runs[1].card["config"]["seed"] = 2
    against = {
        tier: {"<1>": Comparison("<1>", 0.1, 0.0123, (0.01, 0.02), 0.01, 0.7, {})}
        for tier in runs[0].scores.tiers
    }
    text = page.several(Runs(runs, against))
    inside = Parsed(text)
    assert inside.inside == [] and len(inside.named("script")) == 1
    said = "".join(w for _, w in inside.words)
    assert "Fields in which the configs differ" in said and "config.seed" in said
    assert "The configs are the same" in page._unlike_configs(runs[:1]).text
    assert "Comparison: <0>, <1>" in said and "+0.0123" in said and "70%" in said
    assert {"By type of stimulus", "By mouse", "Learning curves"} <= {
        w for _, w in inside.words
    }
    ids = [a["id"] for _, a in inside.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_labels_are_short_and_differ():
    names = [f"dynamic9000{i}-1-1-Video" for i in range(3)] + ["a" * 99, "a" * 98]
    labels = short(names)
    assert len(set(labels.values())) == 5
    assert max(map(len, labels.values())) <= LONGEST


def decoded(content):
    """The pixels of a PNG as frames.png writes them."""
    width, height, depth, kind = struct.unpack(">IIBB", content[16:26])
    assert depth == 8 and content[:8] == b"\x89PNG\r\n\x1a\n"
    size = struct.unpack(">I", content[33:37])[0]
    raw = np.frombuffer(zlib.decompress(content[41 : 41 + size]), np.uint8)
    return raw.reshape(height, -1)[:, 1:].reshape(height, width, {0: 1, 2: 3}[kind])


@pytest.mark.parametrize("shape", [(7, 5, 8), (7, 5, 8, 3), (1, 4, 4), (3, 200, 90)])
def test_frames_lie_beside_and_below_each_other(shape):
    film = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    sheet = frames.sheet(film)
    small = frames.shrunk(film)
    image = decoded(base64.b64decode(sheet.url.partition(",")[2]))
    for i in range(shape[0]):
        y, x = divmod(i, sheet.columns)
        place = image[y * sheet.height :, x * sheet.width :]
        cut = place[: sheet.height, : sheet.width].reshape(small[i].shape)
        np.testing.assert_array_equal(cut, small[i])
    assert max(sheet.width, sheet.height) <= frames.WIDEST
    if shape[1] > frames.WIDEST:
        block = film[0, :3, :3].astype(float).mean()
        assert abs(small[0, 0, 0] - block) <= 0.5


def test_elements_escape_their_strings():
    said = element("p", "a<b", element("b", "&"), None, title='"', hidden=True, x=False)
    assert said.text == '<p title="&quot;" hidden>a&lt;b<b>&amp;</b></p>'
    assert "<td>&lt;x</td>" in table("c", ["a", "b"], [["1", "<x"]]).text


def test_pictures_have_slides_and_no_seconds():
    run = reports.run(("mouse a", "b", "c"), time=Time(1.0, "pictures"))
    shown = figures.clip(run.clip, run.time).text
    assert 'data-pace="2"' in shown and "seconds" not in shown
    assert "2206.08666" in page._cite([run]).text
