"""Machine code for plain Python functions, unchanged: the only module that imports numba.

`compile_graph` takes a function and compiles it with every function of ours that it calls, so that one source serves both; results are
bit-equal because no option relaxes IEEE arithmetic. Code is cached in a directory named after all our sources, numba and Python, so that an
edit to any of them never meets old machine code. `engine.kernel` is what gets compiled.
"""

from __future__ import annotations

import dis
import hashlib
import os
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numba
from numba.core import types as numba_types
from numba.extending import intrinsic

_PACKAGE = Path(__file__).parents[1]
_COMPILED_PACKAGES = ("model", "physics", "library", "policies", "workloads", "engine")


def cache_directory() -> Path | None:
    """Where compiled code is kept: a writable directory that changes with every source it was made from; None if there is none.

    ``ECOVISOR_CACHE_DIR`` overrides the user's cache directory.
    """
    base = os.environ.get("ECOVISOR_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        root = Path(base) if base else Path.home() / ".cache"
        stamp = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
        for package in _COMPILED_PACKAGES:
            for source in sorted((_PACKAGE / package).glob("*.py")):
                stamp.update(source.name.encode())
                stamp.update(source.read_bytes())
        directory = root / "ecovisor" / f"kernel-{stamp.hexdigest()[:16]}"
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return directory if os.access(directory, os.W_OK) else None


@intrinsic
def _call_python(typing_context: Any, address: Any, reason: Any) -> Any:
    """Call the Python object at an address with an int, by the interpreter's own C functions, and return the int it returns."""
    signature = numba_types.int64(numba_types.int64, numba_types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        python = context.get_python_api(builder)
        function = builder.inttoptr(arguments[0], python.pyobj)
        argument = python.long_from_longlong(arguments[1])
        answer = python.call_function_objargs(function, (argument,))
        code = python.long_as_longlong(answer)
        python.decref(answer)
        python.decref(argument)
        return code

    return signature, generate


def _call_back(callback: Any, reason: Any) -> Any:
    return _call_python(callback, reason)  # type: ignore[call-arg]  # the context is the compiler's


class Callback:
    """A Python function ``reason → code`` that compiled code can call; keep it alive while that code runs.

    The function must not raise, and must return an int: neither an exception nor anything else has a way through machine code. The code
    that calls it holds the interpreter's lock.
    """

    def __init__(self, function: Callable[[int], int]) -> None:
        self._function = function
        self.address = id(function)


def compile_graph(function: Callable[..., Any], replaced: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """Compile ``function`` and all functions of ecovisor that it reaches by name.

    Args:
        function: written in the part of Python that numba knows, calling others by their plain global names.
        replaced: name → function to compile in place of ours (see `CALL_BACK`).

    Returns:
        The compiled function; it takes records and arrays where the plain one takes objects and lists.
    """
    directory = cache_directory()
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(directory) if directory else ""
    try:
        return _compile(function, dict(replaced or {}), {}, directory is not None)
    finally:
        config.CACHE_DIR = before


def _compile(function: Any, replaced: Mapping[str, Callable[..., Any]], done: dict[Any, Any], cache: bool) -> Any:
    if function in done:
        return done[function]
    scope = dict(function.__globals__)
    for name in {step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"}:
        called = replaced.get(name, scope.get(name))
        if isinstance(called, types.FunctionType) and (name in replaced or called.__module__.startswith("ecovisor.")):
            scope[name] = _compile(called, {} if name in replaced else replaced, done, cache=False)
    copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    done[function] = numba.njit(cache=cache, error_model="numpy")(copy)
    return done[function]


#: Replacement for `engine.kernel.call_back` in compiled code; the callback is a `Callback.address`.
CALL_BACK: dict[str, Callable[..., Any]] = {"call_back": _call_back}
