"""Every preset: whole-trial inference, a training step, compiling, memory; as ratios.

    export SENSORIUM_PEERS=/folder/of/originals
    python experiments/benchmarks/models.py [--quick] [--only NAME ...] [--json]

One mouse of 8,000 neurons; the step is that of the preset's recipe, with loss,
penalties and optimizer. Three ways take turns: ours, ours with the library's own
convolutions and automatic gradients (which is what accelerators get), and the
original's PyTorch code where it is at hand. Each lives in a process of its own, so that
peaks of memory are its own, and all but one of them wait. PyTorch gets memory kept
instead of returned to the system, three warm-up steps, and the layout that is faster
for this model. Compare ratios, not times of different runs.
"""

import argparse
import functools
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import recipe_steps
from operations import HEAP, WARM_UPS
from recipe_steps import Case

# The originals by our names, and stand-ins for packages that they miss.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.originals import baselines  # noqa: E402

WAYS = ("ours", "library", "torch")
PARTS = ("inference", "step")
MOUSE = "mouse 0"

CASES = (
    Case("factorized2023", "factorized2023", 8, 80, 300),
    Case("gru2023", "gru2023", 1, 80, 100),
    Case("basic3d2023", "factorized2023", 1, 40, 60, penalties=()),
    Case("ln2023", "ln2023", 8, 80, 300),
    Case("demo", "demo", 10, 37, 300),
    Case("cnn2022", "cnn2022", 128, 1, 128),
    Case("cnn2022_plus", "cnn2022_plus", 128, 1, 128),
    Case("ln2022", "ln2022", 128, 1, 128),
    Case("ln2022_plus", "cnn2022_plus", 128, 1, 128),
)


def smaller(case: Case) -> Case:
    """A look: as few frames as the models bear."""
    pictures = case.frames == 1
    return case._replace(
        windows=4 if pictures else 1,
        frames=1 if pictures else 24,
        trial=4 if pictures else 24,
        neurons=200,
    )


def jax_calls(case: Case, way: str) -> tuple[dict[str, Callable], dict[str, Any]]:
    """Compiled inference and step, and what compiling them took."""
    import jax

    from sensorium_jax.models.ops import formulation
    from sensorium_jax.training.step import Tally

    made = recipe_steps.programs(case)
    trial, windows = (recipe_steps.drawn(s) for s in (made.trial, made.windows))
    state = made.state()
    spent, scratch = {}, {}
    with formulation.use("library" if way == "library" else "auto"):
        programs = {
            "inference": made.answer.lower(recipe_steps.given(state), trial),
            "step": made.step.lower(state, windows, Tally.zero()),
        }
        for part, program in programs.items():
            start = time.perf_counter()
            programs[part] = program.compile()
            spent[part] = time.perf_counter() - start
            memory = programs[part].memory_analysis()
            scratch[part] = getattr(memory, "temp_size_in_bytes", 0) / 1e9
    now = SimpleNamespace(state=state)

    def train() -> None:
        now.state, tally = programs["step"](now.state, windows, Tally.zero())
        jax.block_until_ready(tally)

    def infer() -> None:
        variables = recipe_steps.given(now.state)
        jax.block_until_ready(programs["inference"](variables, trial))

    return {"inference": infer, "step": train}, {
        "compile_s": spent,
        "scratch_gb": scratch,
    }


class Original:
    """The original's PyTorch code, with one batch to learn from and one trial."""

    def __init__(self, case: Case):
        """Build it by its own builder."""
        import torch

        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.pictures = case.frames == 1
        if self.pictures:
            plus = case.preset.endswith("plus")
            draw = functools.partial(baselines.pictures, behaviors=plus)
            shapes: Any = ((case.windows, 36, 64), (case.trial, 36, 64))
        else:
            draw = baselines.films
            shapes = ((case.windows, case.frames, 36, 64), (1, case.trial, 36, 64))
        loaders = [draw(shape, neurons=case.neurons) for shape in shapes]
        self.model = baselines.build(case.preset, {MOUSE: loaders[0]}, 42)
        self.model.to(self.device)
        self.batch, self.trial = (
            type(x.batch)(*(v.to(self.device) for v in x.batch)) for x in loaders
        )
        kind = torch.optim.Adam if self.pictures else torch.optim.AdamW
        self.optimizer = kind(self.model.parameters(), lr=0.005)

    def settle(self, *, last: bool) -> None:
        """Lay out weights and stimuli with their channels last, or first."""
        torch = self.torch
        layouts = {4: torch.contiguous_format, 5: torch.contiguous_format}
        if last:
            layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
        for x in (*self.model.parameters(), *self.model.buffers()):
            if x.ndim in layouts:
                x.data = x.data.contiguous(memory_format=layouts[x.ndim])
        self.batch, self.trial = (
            x._replace(**{x._fields[0]: x[0].contiguous(memory_format=layout)})
            for x in (self.batch, self.trial)
            for layout in [layouts[x[0].ndim]]
        )

    def step(self) -> None:
        """Forward, backward, update."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        baselines.loss_of(self.model, MOUSE, self.batch, 1)[0].backward()
        self.optimizer.step()
        self.wait()

    def inference(self) -> None:
        """Answer the whole trial."""
        self.model.eval()
        with self.torch.no_grad():
            baselines.rates_of(self.model, MOUSE, self.trial)
        self.wait()

    def wait(self) -> None:
        """Until the device is done."""
        if self.device == "cuda":
            self.torch.cuda.synchronize()


def torch_calls(case: Case) -> tuple[dict[str, Callable], dict[str, Any]]:
    """The original's inference and step, in the layout that is faster for it."""
    original, times = Original(case), {}
    for last in (False, True):
        original.settle(last=last)
        for _ in range(1 if last else WARM_UPS):  # the heap has grown by then
            original.step()
        start = time.perf_counter()
        original.step()
        times[last] = time.perf_counter() - start
    last = times[True] < times[False]
    original.settle(last=last)
    layout = "channels_last" if last else "contiguous"
    calls = {"inference": original.inference, "step": original.step}
    return calls, {"layout": layout}


def work(case: Case, way: str) -> None:
    """Build, then run a part for every line of input and answer with its seconds."""
    calls, about = torch_calls(case) if way == "torch" else jax_calls(case, way)
    for call in calls.values():
        call()
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        calls[line.strip()]()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps({"seconds": seconds, "peak_gb": peak}), flush=True)


class Worker:
    """A process that runs one case in one way when told to."""

    def __init__(self, case: Case, way: str):
        """Start it, and wait until it is built and warm."""
        words = [sys.executable, __file__, "--work", json.dumps([case, way])]
        env = os.environ | (HEAP if way == "torch" else {})
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            words, stdin=pipe, stdout=pipe, text=True, env=env
        )
        self.about = self.read()
        self.seconds: dict[str, list[float]] = {part: [] for part in PARTS}

    def read(self) -> dict[str, Any]:
        """Its next line of JSON; what else is printed is passed over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.process.args} stopped with {self.process.wait()}")

    def run(self, part: str) -> None:
        """Take its turn."""
        assert self.process.stdin is not None
        print(part, file=self.process.stdin, flush=True)
        got = self.read()
        self.seconds[part].append(got["seconds"])
        self.about["peak_gb"] = got["peak_gb"]

    def end(self) -> dict[str, Any]:
        """Stop it; medians of its seconds, and what it said of itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        return {k: statistics.median(v) for k, v in self.seconds.items()} | self.about


def has_original(case: Case) -> bool:
    """Whether an original of this preset can be run here."""
    if importlib.util.find_spec("torch") is None or "SENSORIUM_PEERS" not in os.environ:
        return False
    return case.preset in {**baselines.PICTURES, **baselines.FILMS}


def compare(case: Case, ways: Sequence[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Ways of one case, in turns."""
    ways = [w for w in ways if w != "torch" or has_original(case)]
    workers = {way: Worker(case, way) for way in ways}
    for part in PARTS:
        for _ in range(rounds):
            for worker in workers.values():
                worker.run(part)
    return {way: worker.end() for way, worker in workers.items()}


def show(case: Case, found: dict[str, dict[str, Any]]) -> str:
    """Lines of a table: our seconds, and how many times faster than the others."""
    lines = []
    for part in PARTS:
        work = f"{case.windows} x {case.frames}" if part == "step" else f"{case.trial}"
        ours = found["ours"][part]
        cells = [f"{case.preset:15}{part:10}{work:>9}{ours:9.3f} s"]
        for other in WAYS[1:]:
            told = f"x{found[other][part] / ours:.2f}" if other in found else "-"
            cells.append(f"{told:>9}")
        for way in WAYS[:2]:
            told = f"{found[way]['compile_s'][part]:.1f}" if way in found else "-"
            cells.append(f"{told:>8}")
        cells.append(f"{found['ours']['scratch_gb'][part]:8.2f}")
        lines.append("".join(cells))
    peaks = ", ".join(f"{way} {got['peak_gb']:.1f}" for way, got in found.items())
    layout = found.get("torch", {}).get("layout", "")
    lines.append(f"{'':15}peak GB: {peaks}{f'; torch {layout}' if layout else ''}")
    return "\n".join(lines)


def main() -> None:
    """Print a block for each preset."""
    parser = argparse.ArgumentParser(description="Time of every preset.")
    parser.add_argument("--quick", action="store_true", help="small, one round")
    parser.add_argument("--only", nargs="*", default=[], help="presets")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        case, way = json.loads(args.work)
        return work(Case(*case), way)
    found = {}
    head = f"{'preset':15}{'part':10}{'frames':>9}{'ours':>11}"
    head += f"{'library':>9}{'torch':>9}{'compile':>8}{'library':>8}{'scratch':>8}"
    if not args.json:
        print(f"{os.cpu_count()} cores; times faster than library and torch\n{head}")
    for case in CASES:
        if args.only and case.preset not in args.only:
            continue
        chosen = smaller(case) if args.quick else case
        found[case.preset] = compare(chosen, args.ways, 1 if args.quick else 3)
        if not args.json:
            print(show(chosen, found[case.preset]), flush=True)
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
