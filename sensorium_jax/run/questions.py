"""The questions of the 2023 competition, answered from what several models predict."""

from typing import Any

from sensorium_jax.scoring import limits, paired, suites, tables

Tiers = dict[str, list[suites.Mouse]]
PAIRS = {
    "dynamic_against_static": ("demo", "static"),
    "with_against_without_behavior": ("demo", "no_behavior"),
}
HOME = "natural_movie"  # what models are trained on


def answers(measured: dict[str, Tiers]) -> dict[str, Any]:
    """The answer to each question that the trained models allow."""
    oracle = {name: in_domain(tiers) for name, tiers in measured.items()}
    found: dict[str, Any] = {"limit": limits.limits(next(iter(oracle.values())))}
    for question, (first, second) in PAIRS.items():
        if {first, second} <= oracle.keys():
            found[question] = paired.compare(oracle[first], oracle[second])
    found["models"] = {}
    for name, tiers in measured.items():
        kinds = suites.by_kind([m for mice in tiers.values() for m in mice])
        others = {k: v for k, v in kinds.items() if k != HOME}
        whole = suites.report(oracle[name])
        found["models"][name] = {"in_domain": whole, "out_of_domain": others}
    return found


def in_domain(tiers: Tiers) -> list[suites.Mouse]:
    """The validation tier."""
    return tiers["oracle"] if "oracle" in tiers else next(iter(tiers.values()))


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per model and type of stimulus."""
    made = []
    for name, model in found["models"].items():
        facts = {k: v for k, v in model.items() if not isinstance(v, dict)}
        parts = {"in domain": model["in_domain"], **model["out_of_domain"]}
        for kind, scores in parts.items():
            numbers = {
                k: v for k, v in scores.items() if not isinstance(v, (dict, list))
            }
            made.append({"model": name, "stimulus": kind, **facts, **numbers})
    return made


def lines(found: dict[str, Any]) -> list[str]:
    """The answers in words and a table."""
    made = []
    for origin, words in (("from_truth", "true rates"), ("from_repeats", "repeats")):
        if spread := found["limit"][origin]:
            at = spread["percentiles"]
            made.append(
                f"limit of single-trial correlation, from {words}: mean "
                f"{spread['mean']:.3f}, 10/50/90 % of neurons "
                f"{at['10']:.2f}/{at['50']:.2f}/{at['90']:.2f}"
            )
    for question in PAIRS:
        if answer := found.get(question):
            low, high = answer["difference_interval"]
            words = question.replace("_", " ")
            made.append(
                f"{words}: {answer['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
            )
    kinds = sorted({k for m in found["models"].values() for k in m["out_of_domain"]})
    cells = [["model", "weights", "seconds", "single trial", "fraction", *kinds]]
    ranked = sorted(
        found["models"].items(), key=lambda x: -x[1]["in_domain"]["single_trial"]
    )
    for name, model in ranked:
        whole, others = model["in_domain"], model["out_of_domain"]
        each = [others.get(k, {}).get("fraction_of_ceiling") for k in kinds]
        numbers = [whole["single_trial"], whole["fraction_of_ceiling"], *each]
        spent = "-" if model["seconds"] is None else f"{model['seconds']:.0f}"
        cells.append(
            [name, f"{model['parameters']:,}", spent, *map(tables.cell, numbers)]
        )
    return [*made, f"after {found['steps']} steps each:", *tables.align(cells)]
