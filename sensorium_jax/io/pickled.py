"""An inert machine for pickles, with what PyTorch's state dicts need of it.

It knows the opcodes that plain data is made of. Names of functions stay names: those in
a given list turn into plain records, any other stops the reading. Nothing is imported
and nothing is called, whatever the file says.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Refused(ValueError):
    """The file asks for something that its kind of data does not need."""


class Name(NamedTuple):
    """A function or class the pickle mentions; never looked up."""

    module: str
    name: str


class Storage(NamedTuple):
    """A block of numbers in the archive: element type, member key, entries."""

    kind: str
    key: str
    size: int


class Layout(NamedTuple):
    """A tensor as a view of a storage, in entries."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


MOST_STEPS, MOST_CONTAINERS = 4_000_000, 1_000_000  # the published files need 2,000
MOST_RANK = 16  # axes of a tensor
SPARE, DENSEST = 100_000, 4  # lists of any file, and bytes that each one more takes
LARGEST = 1 << 63  # of whole numbers; longer ones would take for ever to write out
MALFORMED = (
    *(ValueError, IndexError, KeyError, TypeError, AttributeError),
    *(OverflowError, RecursionError),
)
MARK = object()
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
PUSH_ARGUMENT = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT"),
    *("FLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("SHORT_BINSTRING", "BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
IGNORED = {"PROTO", "FRAME"}
PUT = {"BINPUT", "LONG_BINPUT", "PUT"}
GET = {"BINGET", "LONG_BINGET", "GET"}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
COUNTED = {
    *("MARK", "EMPTY_DICT", "EMPTY_LIST", "REDUCE"),
    *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
}
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list}


def interpret(
    pickled: bytes,
    rebuild: Mapping[Name, Callable[..., Any]] | None = None,
    fill: Callable[[Any, Any], bool] | None = None,
    kind: str = "a state dict",
    *,
    steps: int = MOST_STEPS,
    containers: int = MOST_CONTAINERS,
) -> Any:
    """The object described: containers, plain values and records, here Layouts.

    rebuild says what stands for the result of a function of a name; fill(record, state)
    puts a state into such a record, and returns whether it may have one. steps and
    containers bound the work and the memory, which a byte each would cost.
    """
    containers = min(containers, SPARE + len(pickled) // DENSEST)
    known = REBUILD if rebuild is None else rebuild
    machine = _Machine(known, fill, kind, containers, len(pickled))
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if step == steps:
                raise Refused(f"its description has more than {steps} steps.")
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except MALFORMED as error:
        if isinstance(error, Refused):
            raise
        words = (str(error).splitlines() or [""])[0][:120]
        raise Refused(f"its description is malformed ({words}).") from None
    raise Refused("its description has no end.")


class _Machine:
    def __init__(self, rebuild, fill, kind, containers, size):
        self.rebuild, self.fill, self.kind = rebuild, fill, kind
        self.left, self.copies = containers, size
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise Refused(
                "its description is malformed (a mark where a value belongs)."
            )
        return value

    def pop_to_mark(self) -> list[Any]:
        items = []
        while (value := self.stack.pop()) is not MARK:
            items.append(value)
        return items[::-1]

    def step(self, code: str, argument: Any) -> None:
        if code in IGNORED:
            return
        self._check_limits(code, argument)
        if code in PUSH_ARGUMENT:
            self.stack.append(argument)
        elif code in CONSTANTS:
            self.stack.append(CONSTANTS[code])
        elif code in EMPTY:
            self.stack.append(EMPTY[code]())
        elif code in TUPLES:
            self.stack.append(tuple(self.pop() for _ in range(TUPLES[code]))[::-1])
        elif code in PUT:
            self.memo[int(argument)] = self.stack[-1]
        elif code in GET:
            self.stack.append(self.memo[int(argument)])
        elif (act := getattr(self, f"do_{code.lower()}", None)) is not None:
            act(argument)
        else:
            raise Refused(f"its description uses the opcode {code}.")

    def _check_limits(self, code: str, argument: Any) -> None:
        if code in COUNTED:
            self.left -= 1
            if self.left < 0:
                raise Refused("its description makes more lists than such a file has.")
        if isinstance(argument, int) and not -LARGEST <= argument < LARGEST:
            raise Refused("its description holds a number of more than 63 bits.")

    def do_memoize(self, _) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_mark(self, _) -> None:
        self.stack.append(MARK)

    def do_tuple(self, _) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def do_append(self, _) -> None:
        value = self.pop()
        self._list().append(value)

    def do_appends(self, _) -> None:
        values = self.pop_to_mark()
        self._list().extend(values)

    def do_setitem(self, _) -> None:
        value, key = self.pop(), self.pop()
        self._set(key, value)

    def do_setitems(self, _) -> None:
        items = self.pop_to_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def do_global(self, argument: str) -> None:
        module, name = argument.split(" ", 1)
        self.stack.append(Name(module, name))

    def do_stack_global(self, _) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Refused("its description names a function by something else.")
        self.stack.append(Name(module, name))

    def do_binpersid(self, _) -> None:
        self.stack.append(_storage(self.pop()))

    def do_build(self, _) -> None:
        state, record = self.pop(), self.stack[-1]
        # State dicts carry a `_metadata` attribute; nothing here needs it.
        if isinstance(record, dict) or (self.fill and self.fill(record, state)):
            return
        raise Refused("its description sets attributes of an object.")

    def do_reduce(self, _) -> None:
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, Name) or name not in self.rebuild:
            what = f"{name.module}.{name.name}" if isinstance(name, Name) else "a value"
            raise Refused(
                f"it asks to call {ascii(what[:80])[1:-1]}, which {self.kind} never "
                "needs."
            )
        result = self.rebuild[name](*arguments)
        self._check_copy(result)
        self.stack.append(result)

    def _check_copy(self, result: Any) -> None:
        # What a function is given may be written once and asked for a million times.
        if isinstance(result, bytes):
            self.copies -= len(result)
        elif isinstance(result, dict):
            self.copies -= DENSEST * len(result)
        if self.copies < 0:
            raise Refused("its description copies more than it holds.")

    def _list(self) -> list:
        if not isinstance(self.stack[-1], list):
            raise Refused("its description appends to something that is no list.")
        return self.stack[-1]

    def _set(self, key: Any, value: Any) -> None:
        # Only plain keys: hashing a nested tuple can be made to take for ever.
        if not isinstance(self.stack[-1], dict) or not isinstance(key, str | int):
            raise Refused(f"its description uses a key of type {type(key).__name__}.")
        self.stack[-1][key] = value


def _storage(reference: Any) -> Storage:
    match reference:
        case ("storage", Name("torch", kind), str(key), _, int(size)) if size >= 0:
            return Storage(kind, key, size)
    raise Refused("it refers to a storage in a form that PyTorch does not write.")


def _layout(storage, offset, shape, strides, *_) -> Layout:
    sizes = _size(shape), _size(strides)
    if not isinstance(storage, Storage) or type(offset) is not int:
        raise Refused("it describes a tensor in a form that PyTorch does not write.")
    return Layout(storage, offset, *sizes)


def _ordered(pairs=(), *_) -> dict:
    if not all(isinstance(k, str | int) for k, _ in pairs):
        raise Refused("its description uses a key that is not plain.")
    return dict(pairs)


def _parameter(layout, *_) -> Layout:
    if not isinstance(layout, Layout):
        raise Refused("it describes a parameter that is no tensor.")
    return layout


def _size(sizes) -> tuple[int, ...]:
    if not isinstance(sizes, tuple | list) or len(sizes) > MOST_RANK:
        raise Refused(f"it describes a tensor of more than {MOST_RANK} axes, or none.")
    if not all(type(n) is int for n in sizes):
        raise Refused("it describes a tensor in a form that PyTorch does not write.")
    return tuple(sizes)


REBUILD = {
    Name("collections", "OrderedDict"): _ordered,
    Name("torch._utils", "_rebuild_tensor_v2"): _layout,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch", "Size"): _size,
}
