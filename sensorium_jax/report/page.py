"""The page of one run, and the page that compares several: records in, HTML out."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any

from sensorium_jax.report import figures
from sensorium_jax.report.contents import Run, Runs
from sensorium_jax.report.html import Html, element, join, table
from sensorium_jax.scoring import tables
from sensorium_jax.text import cell

LARGEST = 20_000_000  # bytes of a page
LONG = 2000  # characters of a field of a config
SOFTWARE = "sensorium_jax: the JAX home of the SENSORIUM benchmarks. Version {version}."
PAPERS = {
    True: "Turishcheva, P., Fahey, P. G., et al. (2023). The Dynamic Sensorium "
    "competition for predicting large-scale mouse visual cortex activity from videos. "
    "arXiv:2305.19654.",
    False: "Willeke, K. F., Fahey, P. G., et al. (2022). The Sensorium competition on "
    "predicting large-scale mouse primary visual cortex activity. arXiv:2206.08666.",
}
READ_ME = (
    "Grey bars reach from the null (each neuron's training mean) to the ceiling, the "
    "highest correlation that any model could have. Lines are 95 % of resamples of the "
    "trials."
)


def one(run: Run) -> str:
    """The page of one run."""
    title = f"Report: {run.name}"
    parts = {
        "Summary": _summary(run),
        "Scores": _scores(run),
        "Learning": _learning(run),
        "Responses": _responses(run),
        "Positions and fields": _places(run),
        "Run": _settings(run),
        "How to cite": _cite([run]),
    }
    return document(title, _about(run), parts)


def several(runs: Runs) -> str:
    """The page that compares several runs."""
    first = runs.runs[0]
    names = ", ".join(run.name for run in runs.runs)
    parts = {
        "Scores": _compared(runs),
        "Learning": _learning(*runs.runs),
        "Runs": join(
            [_unlike_configs(runs.runs), *(_settings(r, title=True) for r in runs.runs)]
        ),
        "How to cite": _cite(runs.runs),
    }
    about = f"Scored on {first.data}; every run on the same trials."
    return document(f"Comparison: {names}", about, parts)


def _about(run: Run) -> str:
    card = run.card
    mice = card.get("mice", ())
    words = [f"model {card.get('model', 'unknown')}"]
    if card.get("recipe"):
        words.append(f"recipe {card['recipe']}")
    neurons = sum(m.get("neurons", 0) for m in mice)
    words.append(f"{len(mice)} mice, {neurons:,} neurons")
    words.append(f"scored on {run.data}")
    return "; ".join(words) + "."


def document(title: str, about: str, parts: Mapping[str, Html | None]) -> str:
    """A whole page; parts are by their title."""
    style, script = (_beside(f"page.{kind}") for kind in ("css", "js"))
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    # Should anything unescaped ever get in: no other script runs, nothing is fetched.
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    there = {name: part for name, part in parts.items() if part is not None}
    links = (
        element("li", element("a", n, href=f"#{figures.key_of(n)}")) for n in there
    )
    sections = (_section(name, part) for name, part in there.items())
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", title),
        element("style", Html(style)),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        element(
            "header",
            element("h1", title),
            element("p", about, class_="about"),
            element("nav", element("ul", *links), aria_label="Parts of this page"),
        ),
        element("main", *sections, id="content", tabindex=-1),
        element("script", Html(script)),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en").text + "\n"


def _beside(name: str) -> str:
    """A file of this folder."""
    return files("sensorium_jax.report").joinpath(name).read_text()


def _section(title: str, inside: Html) -> Html:
    key = figures.key_of(title)
    head = element("h2", title, id=key)
    return element("section", head, inside, aria_labelledby=key)


def _summary(run: Run) -> Html:
    whole = run.scores.tiers[run.tier].all
    numbers = {
        "single-trial correlation": ("single_trial", "single_trial_interval"),
        "null": ("null", "null_interval"),
        "linear model": ("linear", "linear_interval"),
        "ceiling": ("ceiling", None),
        "fraction of the ceiling": (
            "fraction_of_ceiling",
            "fraction_of_ceiling_interval",
        ),
    }
    tiles = []
    for name, (key, ends) in numbers.items():
        between = getattr(whole, ends) if ends else None
        small = "" if between is None else f"95 %: {between[0]:.3f} to {between[1]:.3f}"
        if key == "ceiling":
            small = f"from {tables.ORIGINS[whole.ceiling_from]}"
        value = element("dd", whole.cell(key), element("small", small))
        tiles.append(element("div", element("dt", name), value))
    words = [f"On the tier {run.tier}: {whole.trials} trials, {whole.neurons} neurons."]
    words += [f"{w[0].upper()}{w[1:]}" for w in tables.beside_linear(whole)]
    notes = [element("p", note, class_="note") for note in run.notes]
    said = [element("p", w) for w in words]
    return join([element("dl", *tiles, class_="tiles"), *said, *notes])


def _scores(run: Run) -> Html:
    tiers = run.scores.tiers
    blocks = []
    if len(tiers) > 1:
        whole = {tier: scores.all for tier, scores in tiers.items()}
        blocks.append(figures.scores("Scores by tier", "All mice together.", whole))
    if run.together:
        words = "All tests together, by what was shown."
        blocks.append(figures.scores("Scores by type of stimulus", words, run.together))
    for tier, scores in tiers.items():
        rows = {name: part for _, name, part in _unlike(scores.parts())}
        blocks.append(figures.scores(f"Scores on {tier}", "", rows))
    notes = [
        element("p", f"{tier}: {line}", class_="note")
        for tier, scores in tiers.items()
        for line in scores.notes()
    ]
    details = element("details", element("summary", "Further scores"), *notes)
    return join([element("p", READ_ME, class_="note"), figures.grid(blocks), details])


def _unlike(parts: Iterable[tuple[str, str, Any]]) -> list[tuple[str, str, Any]]:
    """Rows whose names differ: a mouse may be named as a type of stimulus is."""
    seen: dict[str, int] = {}
    rows = []
    for of, name, part in parts:
        name = f"{name} ({of})" if name in seen else name
        seen[name] = 1
        rows.append((of, name, part))
    return rows


def _learning(*runs: Run) -> Html | None:
    logs = {run.name: run.log for run in runs}
    blocks = [
        figures.over_steps("Learning curves", "", logs, figures.LEARNED),
        figures.over_steps(
            "Data wait and speed",
            "Data wait is the share of time in which the device had nothing to do.",
            logs,
            figures.SPENT,
        ),
    ]
    if not any(blocks):
        return None
    return figures.grid(blocks)


def _responses(run: Run) -> Html | None:
    blocks = []
    if run.clip is not None:
        blocks.append(figures.clip(run.clip, run.time))
    if run.traces:
        blocks.append(figures.traces(run.traces, run.time))
    return figures.grid(blocks) if blocks else None


def _places(run: Run) -> Html | None:
    blocks = [figures.placed(placed) for placed in run.placed]
    if run.fields:
        blocks.append(figures.fields(run.fields))
    if run.excited:
        blocks.append(figures.excited(run.excited))
    return figures.grid(blocks) if blocks else None


def _settings(run: Run, *, title: bool = False) -> Html:
    """Machine, versions and config of a run, exactly."""
    card = run.card
    machine = {k: v for k, v in flat(card.get("machine", {})) if "versions" not in k}
    progress = card.get("progress", {})
    waits = [x["data_wait"] for x in run.log if "data_wait" in x]
    last = max((x["step"] for x in run.log), default=None)
    facts = {
        "steps": cell(last, 0),
        "best step": cell(progress.get("best_step")),
        "mean share of time waiting for data": cell(
            sum(waits) / len(waits) if waits else None
        ),
        **{k: words_of(v) for k, v in machine.items()},
        **{k: words_of(v) for k, v in flat(card.get("asking", {}), "asking")},
    }
    lists = {
        "Run and machine": facts.items(),
        "Versions": card.get("versions", {}).items(),
        "Config": flat(card.get("config", {}), "config"),
        "Changes of the model": flat(card.get("changes", {})),
        "Mice": [(m["name"], m.get("neurons")) for m in card.get("mice", ())],
    }
    parts = []
    for name, pairs in lists.items():
        rows = [[key, words_of(value)] for key, value in pairs]
        if rows:
            words = f"{name} of {run.name}" if title else name
            inside = element(
                "div", table(words, ["field", "value"], rows), class_="words"
            )
            closed = name in ("Config", "Changes of the model") or title
            summary = element("summary", words)
            parts.append(element("details", summary, inside, open=not closed))
    return join(parts)


def flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Fields of nested objects by their whole names."""
    if not isinstance(value, Mapping) or (path and not value):
        return [(path, value)]
    return [
        pair
        for key, part in value.items()
        for pair in flat(part, f"{path}.{key}" if path else str(key))
    ]


def words_of(value: Any) -> str:
    """A field as it stands in a table."""
    words = value if isinstance(value, str) else json.dumps(value, default=str)
    return words if len(words) <= LONG else f"{words[:LONG]}… ({len(words)} characters)"


def _unlike_configs(runs: Sequence[Run]) -> Html:
    """The fields in which runs differ, side by side."""
    each = [
        {
            k: words_of(v)
            for part in ("config", "changes")
            for k, v in flat(run.card.get(part, {}), part)
        }
        for run in runs
    ]
    fields = dict.fromkeys(k for config in each for k in config)
    rows = [[k, *(config.get(k, "-") for config in each)] for k in fields]
    unlike = [row for row in rows if len(set(row[1:])) > 1]
    if not unlike:
        return element("p", "The configs are the same.")
    heads = ["field", *(run.name for run in runs)]
    return table("Fields in which the configs differ", heads, unlike)


def _compared(runs: Runs) -> Html:
    first, blocks = runs.runs[0], []
    for tier in first.scores.tiers:
        rows = {run.name: run.scores.tiers[tier].all for run in runs.runs}
        blocks.append(figures.scores(f"Scores on {tier}", "", rows))
    kinds = {run.name: run.together for run in runs.runs}
    mice = {run.name: run.scores.tiers[first.tier].mice for run in runs.runs}
    words = "All tests together, by what was shown."
    what = "fraction_of_ceiling"
    blocks.append(figures.by_model("By type of stimulus", words, kinds, what))
    words = f"Of the tier {first.tier}."
    blocks.append(figures.by_model("By mouse", words, mice, "single_trial"))
    heads = ["tier", "run", "first less it", "95 %", "p", "neurons better"]
    caption = f"{first.name} less each other run, on the same resamples of the trials"
    against = table(caption, heads, figures.differences(runs))
    note = element("p", READ_ME, class_="note")
    return join([note, figures.grid(blocks), against])


def _cite(runs: Sequence[Run]) -> Html:
    versions = runs[0].card.get("versions", {})
    software = SOFTWARE.format(version=versions.get("sensorium-jax", "unknown"))
    films = any(run.time.unit != "pictures" for run in runs)
    papers = [PAPERS[films]]
    items = [element("li", words) for words in (software, *papers)]
    note = (
        "Please cite the papers of the recordings that were used as well. The "
        "organizers ask to be asked before results on the recordings are published."
    )
    return join([element("ul", *items), element("p", note, class_="note")])
