"""How programs for a GPU are read; the programs themselves are make gpu-programs."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "experiments/benchmarks/gpu_programs.py"

PROGRAM = """
HloModule step

%sliced (p.0: f32[6,100], p.1: s32[]) -> f32[100] {
  %p.0 = f32[6,100]{1,0} parameter(0)
  %p.1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %part = f32[1,100]{1,0} dynamic-slice(%p.0, %p.1, %zero), dynamic_slice_sizes={1,100}
  ROOT %flat = f32[100]{0} bitcast(%part)
}

%written (p.2: f32[6,100], p.3: f32[1,100], p.4: s32[]) -> f32[6,100] {
  %p.2 = f32[6,100]{1,0} parameter(0)
  %p.3 = f32[1,100]{1,0} parameter(1)
  %p.4 = s32[] parameter(2)
  %none = s32[] constant(0)
  ROOT %new = f32[6,100]{1,0} dynamic-update-slice(%p.2, %p.3, %p.4, %none)
}

%turn (carry: (s32[], f32[6,100])) -> (s32[], f32[6,100]) {
  %carry = (s32[], f32[6,100]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %all = f32[6,100]{1,0} get-tuple-element(%carry), index=1
  %one = f32[100]{0} fusion(%all, %i), kind=kLoop, calls=%sliced
  %row = f32[1,100]{1,0} bitcast(%one)
  %out = f32[6,100]{1,0} fusion(%all, %row, %i), kind=kLoop, calls=%written
  ROOT %next = (s32[], f32[6,100]{1,0}) tuple(%i, %out)
}

%more (c: (s32[], f32[6,100])) -> pred[] {
  %c = (s32[], f32[6,100]{1,0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (x: f32[6,100], k: bf16[4,5]) -> f32[6,100] {
  %x = f32[6,100]{1,0} parameter(0)
  %k = bf16[4,5]{1,0} parameter(1)
  %copied = bf16[4,5]{0,1} copy(%k)
  %call = (bf16[4,5]{1,0}, u8[0]{0}) custom-call(%copied), custom_call_target="lib$x"
  %start = s32[] constant(0)
  %both = (s32[], f32[6,100]{1,0}) tuple(%start, %x)
  %loop = (s32[], f32[6,100]{1,0}) while(%both), condition=%more, body=%turn, TURNS
  ROOT %done = f32[6,100]{1,0} get-tuple-element(%loop), index=1
}
"""
KNOWN = 'backend_config={"known_trip_count":{"n":"6"}}'


@pytest.fixture(scope="module")
def programs():
    spec = importlib.util.spec_from_file_location("gpu_programs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_loops_count_as_often_as_they_turn_and_slices_as_what_they_take(programs):
    counts = programs.count(PROGRAM.replace("TURNS", KNOWN))
    copy, call = 2 * 40, 2 * 40
    # A row is read, with the count of turns, and written; then read and written again.
    turn = (400 + 4 + 400) + (400 + 4 + 400)
    assert counts.once == copy + call + turn
    assert counts.moved == copy + call + 6 * turn
    assert counts.turned == copy
    assert counts.calls == {"lib$x": 1}


def test_a_loop_of_unknown_turns_is_an_error(programs):
    with pytest.raises(ValueError, match="how often loop turns"):
        programs.count(PROGRAM.replace("TURNS", "metadata={}"))


def test_slow_things_are_found(programs):
    dilated = (
        "%c = (f32[2,9,9,4]{3,2,1,0}, u8[0]{0}) custom-call(%a, %b), "
        "window={size=3x3 lhs_dilate=2x2}, "
        'custom_call_target="__cudnn$convForward"\n'
    )
    threefold = dilated.replace("size=3x3 lhs_dilate=2x2", "size=3x3x3 pad=1_1x1_1x1_1")
    scatter = "%s = bf16[10,4]{1,0} scatter(%a, %b, %c), to_apply=%add\n"
    many = "%d = f32[8000,496,2,2]{3,2,1,0} dot(%a, %b), lhs_batch_dims={0}\n"
    assert not any(programs.slow(PROGRAM).values())
    found = programs.slow(dilated + threefold + scatter + many)
    assert {k: v for k, v in found.items() if v} == {
        "convolutions over three axes": 1,
        "convolutions of a dilated input": 1,
        "scatters below float32": 1,
        "products of many 2 x 2": 1,
    }
