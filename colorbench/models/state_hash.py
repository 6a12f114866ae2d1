"""Hash of the state of an object: tensors, arrays, numbers and texts in it, and data that its code refers to.

Visited are attributes, containers, networks, closures, and class attributes and globals that the object's functions
name. Equal objects have equal hashes in all processes. Objects without readable content (a session of another library,
an open file, a connection) are *opaque*: an object that contains one cannot be compared.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import gc
import hashlib
import inspect
import os
import random
import re
import sys
import types
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from colorbench.models.model_card import ModelCard
from colorbench.storage.source_code_hashes import foreign, installed

BLOCK = 2**24
"""Bytes of a tensor per block; blocks of large tensors are hashed by several threads."""
MOST = 1_000_000
"""Largest number of visited values; more than any network has apart from its tensors."""
# These do not influence numbers: devices, synchronization and logging.
_INERT = (torch.device, torch.cuda.Stream, torch.cuda.Event)
_INERT_MODULES = ("_thread", "threading", "logging", "weakref", "_weakref", "warnings", "typing", "abc", "_abc")
# The content of these is outside the process and may change.
_OUTSIDE = (
    "socket",
    "ssl",
    "http",
    "urllib",
    "urllib3",
    "requests",
    "httpx",
    "aiohttp",
    "grpc",
    "subprocess",
    "sqlite3",
)
_PLAIN = (enum.Enum, torch.dtype, torch.memory_format, torch.layout, re.Pattern, slice, range)
_NETWORK_KEYS = frozenset({"training", "_is_full_backward_hook", "_non_persistent_buffers_set", "_backward_hooks"})
_CARD = ("role", "stochastic", "working_size", "settings")
"""Fields of a card that influence numbers; the others are descriptions."""


def state_digest(*values: Any, root: Path | None = None) -> tuple[str, tuple[str, ...]]:
    """Compute (sha256 of the state of objects, reasons why parts of it are opaque).

    Args:
        values: objects to hash together.
        root: folder of their code; paths below it are taken relative to it, so that the hash is the same on other
            machines.
    """
    walk = _Walk(root, {type(value).__module__.partition(".")[0] for value in values})
    for position, value in enumerate(values):
        walk.visit(value, str(position) if len(values) > 1 else "")
    return walk.digest(), tuple(walk.opaque)


class _Walk:
    def __init__(self, root: Path | None, own: set[str]) -> None:
        self._root, self._own = "" if root is None else str(root), own
        self._tokens: list[str | Tensor | np.ndarray] = []
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []
        """All visited objects: an id is unique only while the object exists."""
        self.opaque: list[str] = []

    def digest(self) -> str:
        """Return the sha256 of all visited values.

        A large tensor is hashed by several threads, one tensor at a time.
        """
        total = hashlib.sha256()
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for token in self._tokens:
                if isinstance(token, str):
                    total.update(token.encode("utf-8", "surrogatepass") + b"\n")
                    continue
                memory = _memory(token)
                blocks = [memory[start : start + BLOCK] for start in range(0, max(1, len(memory)), BLOCK)]
                for digest in pool.map(_sha256, blocks) if len(blocks) > 1 else map(_sha256, blocks):
                    total.update(digest)
        return total.hexdigest()

    def visit(self, value: Any, path: str) -> None:
        """Add a value; ``path`` describes where it was found."""
        if value is None or isinstance(value, bool | int | float | complex | bytes | bytearray):
            self._tokens.append(f"{type(value).__name__} {value!r}")
            return
        if isinstance(value, str | PurePath):
            text = str(value).replace(self._root, ".") if self._root else str(value)
            self._tokens.append(f"text {text}")
            return
        if id(value) in self._seen:
            self._tokens.append(f"again {self._seen[id(value)]}")
            return
        if len(self._seen) >= MOST:
            if len(self._seen) == MOST:
                self._unknown(path, "more values than can be compared")
            return
        self._seen[id(value)] = len(self._seen)
        self._alive.append(value)
        self._object(value, path)

    def _object(self, value: Any, path: str) -> None:
        kind = type(value)
        module = kind.__module__
        if isinstance(value, _INERT) or module.partition(".")[0] in _INERT_MODULES:
            return
        if isinstance(value, Tensor):
            self._tensor(value, path)
        elif isinstance(value, np.ndarray | np.generic):
            self._array(np.asarray(value), path)
        elif isinstance(value, Mapping):
            texts = all(isinstance(key, str) for key in value)
            self._items(
                f"mapping {len(value)}", sorted(value.items(), key=_key) if texts else list(value.items()), path
            )
        elif isinstance(value, list | tuple):
            self._tokens.append(f"sequence {len(value)}")
            for position, one in enumerate(value):
                self.visit(one, f"{path}[{position}]")
        elif isinstance(value, set | frozenset):
            self._tokens.append("set " + " ".join(sorted(state_digest(one)[0] for one in value)))
        elif isinstance(
            value, enum.Enum | torch.dtype | torch.memory_format | torch.layout | re.Pattern | slice | range
        ):
            self._tokens.append(f"{kind.__qualname__} {value!r}")
        elif isinstance(value, types.ModuleType):
            self._tokens.append(f"module {value.__name__}")
        elif isinstance(value, type):
            self._type(value, path)
        elif isinstance(value, ModelCard):
            self._items("card", [(name, getattr(value, name)) for name in _CARD], path)
        elif isinstance(value, BaseModel):
            self._items(kind.__qualname__, list(dict(value).items()), path)
        elif isinstance(value, torch.Generator):
            self.visit(value.get_state(), path)
        elif isinstance(value, np.random.Generator):
            self.visit(value.bit_generator.state, path)
        elif isinstance(value, random.Random):
            self.visit(value.getstate(), path)
        elif not self._callable(value, path):
            self._instance(value, path)

    def _callable(self, value: Any, path: str) -> bool:
        if isinstance(value, types.MethodType):
            self.visit(value.__func__, path)
            self.visit(value.__self__, path)
        elif isinstance(value, functools.partial):
            self.visit((value.func, value.args, value.keywords), path)
        elif isinstance(value, types.FunctionType):
            self._function(value, path)
        elif isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType | types.WrapperDescriptorType):
            self._tokens.append(f"built in {value.__qualname__}")
        elif isinstance(value, property):
            self.visit((value.fget, value.fset), path)
        elif isinstance(value, staticmethod | classmethod):
            self.visit(value.__func__, path)
        elif isinstance(value, functools.cached_property):
            self.visit(value.func, path)
        elif isinstance(value, functools._lru_cache_wrapper):
            self.visit(value.__wrapped__, path)
            if self._followed(getattr(value.__wrapped__, "__module__", None) or ""):  # irrelevant
                self.visit(_kept(value), path)
        else:
            return False
        return True

    def _tensor(self, value: Tensor, path: str) -> None:
        if value.is_meta or value.layout is not torch.strided:
            self._unknown(path, f"a {value.layout} tensor on {value.device}")
            return
        self._tokens += [f"tensor {tuple(value.shape)} {value.dtype}", value.detach()]

    def _array(self, value: np.ndarray, path: str) -> None:
        if value.dtype.hasobject:
            self.visit(value.tolist(), path)
        else:
            self._tokens += [f"array {value.shape} {value.dtype.str}", value]

    def _items(self, head: str, items: list[tuple[Any, Any]], path: str) -> None:
        self._tokens.append(head)
        for key, one in items:
            self.visit(key, path)
            self.visit(one, f"{path}.{key}" if isinstance(key, str) else f"{path}[{key!r}]")

    def _instance(self, value: Any, path: str) -> None:
        kind = type(value)
        if kind.__module__.partition(".")[0] in _OUTSIDE or kind.__module__ in ("_io", "io", "tempfile"):
            self._unknown(path, f"a {kind.__module__}.{kind.__qualname__}")
            return
        self._tokens.append(f"object {_name(kind)}")
        self.visit(kind, path)
        contained = dict(getattr(value, "__dict__", None) or {})
        for one in kind.__mro__:
            slots = one.__dict__.get("__slots__", ())
            names = (slots,) if isinstance(slots, str) else slots
            contained |= {name: getattr(value, name) for name in names if name != "__dict__" and hasattr(value, name)}
        if isinstance(value, torch.jit.ScriptModule):
            self.visit(value.state_dict(), path)
            self._tokens.append(str(getattr(value, "code", "")))
        elif isinstance(value, nn.Module):
            hollow = {key for key, one in contained.items() if key.endswith("_hooks") and not one}
            contained = {key: one for key, one in contained.items() if key not in _NETWORK_KEYS | hollow}
            self._items("network", list(contained.items()), path)
        elif contained or getattr(value, "__dict__", None) is not None:
            self._items("attributes", sorted(contained.items(), key=_key), path)
        elif kind is not object and not any(hasattr(one, "__slots__") for one in kind.__mro__[:-1]):
            self._reduced(value, path)

    def _reduced(self, value: Any, path: str) -> None:
        """Visit an object of compiled code by its reduced form (as for copying)."""
        try:
            parts = value.__reduce_ex__(2)
        except Exception:  # foreign objects may raise any error when they are copied
            self._unknown(path, f"a {type(value).__module__}.{type(value).__qualname__}")
            return
        self.visit(parts[1:] if isinstance(parts, tuple) else parts, path)

    def _type(self, kind: type, path: str) -> None:
        """Visit a class; for a class of the model, hash its data and what its functions name."""
        self._tokens.append(f"class {_name(kind)}")
        if not self._followed(kind.__module__):
            return
        if not _in_a_file(kind.__module__):
            self._tokens.append(f"source {_source(kind)}")
        for name, one in sorted(vars(kind).items(), key=_key):
            if name == "_abc_impl" or (name.startswith("__") and name not in ("__init__", "__call__")):
                continue
            if not isinstance(one, types.MemberDescriptorType | types.GetSetDescriptorType):
                self._tokens.append(f"member {name}")
                self.visit(one, f"{path}:{kind.__qualname__}.{name}")
        for base in kind.__bases__:
            self.visit(base, path)

    def _function(self, function: types.FunctionType, path: str) -> None:
        code, module = function.__code__, function.__module__ or ""
        self._tokens.append(f"function {_name(function)}")
        if not self._followed(module):
            return
        if not _in_a_file(module):
            self._tokens.append(f"source {_source(function)}")
        elif code.co_filename == sys.modules[module].__file__:
            self._tokens.append(f"line {code.co_firstlineno}")  # distinguishes lambdas
        if function.__defaults__ or function.__kwdefaults__:
            self.visit([function.__defaults__, function.__kwdefaults__], path)
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # not filled yet
                self.visit(cell.cell_contents, path)
        self._globals(sorted(_names(code)), function.__globals__, path)

    def _globals(self, names: list[str], known: Mapping[str, Any], path: str) -> None:
        """Visit the globals that functions use, from their module and from modules beside it."""
        for name in names:
            value = known.get(name, self)
            if value is self:
                continue
            self._tokens.append(f"global {name}")
            if isinstance(value, types.ModuleType) and self._followed(value.__name__) and id(value) not in self._seen:
                self.visit(value, path)
                self._globals([one for one in names if one != name], vars(value), f"{path}:{name}")
            else:
                self.visit(value, f"{path}:{name}")

    def _followed(self, module: str) -> bool:
        """Return whether code belongs to the model, not to a library."""
        if foreign(module) and module != "__main__":
            return False
        file = getattr(sys.modules.get(module), "__file__", None)
        return file is None or not installed(Path(file)) or module.partition(".")[0] in self._own

    def _unknown(self, path: str, what: str) -> None:
        self._tokens.append("opaque")
        self.opaque.append(f"{path.strip('.') or 'the model'} is {what}")


def _name(one: Any) -> str:
    # The module of a file is named after its path, which depends on the machine.
    module = re.sub(r"^colorbench_file_\w+", "file", one.__module__ or "")
    return f"{module}.{one.__qualname__}"


def _in_a_file(module: str | None) -> bool:
    """Return whether a module's code is in a file, which is hashed separately."""
    found = sys.modules.get(module or "")
    file = getattr(found, "__file__", None)
    return module != "__main__" and file is not None and Path(file).is_file()


def _source(one: type | types.FunctionType) -> str:
    """Return the source text if available (as in notebooks), otherwise the compiled code."""
    try:
        return inspect.getsource(one)
    except (OSError, TypeError):
        functions = (
            [one]
            if isinstance(one, types.FunctionType)
            else [value for value in vars(one).values() if isinstance(value, types.FunctionType)]
        )
        return " ".join(_compiled(function.__code__) for function in functions)


def _compiled(code: types.CodeType) -> str:
    constants = [_compiled(one) if isinstance(one, types.CodeType) else repr(one) for one in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names}"


def _names(code: types.CodeType) -> set[str]:
    """Return every name that code uses, including nested functions."""
    found = set(code.co_names)
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            found |= _names(one)
    return found


def _kept(cache: functools._lru_cache_wrapper[Any]) -> list[Any]:
    """Return the cached results of an ``lru_cache``, which may contain networks."""
    parts = gc.get_referents(cache)
    tables = [one for one in parts if isinstance(one, dict)]
    if cache.cache_parameters()["maxsize"] is None:
        return tables
    # The table of a bounded cache contains links instead of results; the results are referenced by the cache itself.
    links = {id(one) for table in tables for one in table.values() if type(one).__name__ == "_lru_list_elem"}
    return [one for one in parts if not isinstance(one, dict | type) and id(one) not in links | {id(cache.__wrapped__)}]


def _memory(value: Tensor | np.ndarray) -> memoryview:
    """Return the bytes of a tensor on the CPU."""
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    plain = value.dequantize() if value.is_quantized else value
    plain = plain.cpu().resolve_conj().resolve_neg().contiguous()
    found: memoryview = plain.reshape(-1).view(torch.uint8).numpy().data
    return found


def _sha256(block: memoryview) -> bytes:
    return hashlib.sha256(block).digest()


def _key(item: tuple[str, Any]) -> str:
    return item[0]
