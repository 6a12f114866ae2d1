"""Search for the torch networks within a model object, their evaluation mode, and half precision.

Networks may be the model itself, its attributes, in lists, dictionaries, other objects, closures or wrappers, or
globals of its file.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LARGEST = 10_000
"""Longest list or dictionary that is searched; longer ones are data tables."""
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None), np.ndarray, np.generic, torch.dtype)


def networks_of(model: object) -> list[nn.Module]:
    """Return the outermost networks within a model, in the order in which they are found."""
    return [value for value in _contained(model) if isinstance(value, nn.Module)]


def device_of(model: object) -> torch.device | None:
    """Return the device of the first tensor of a model's networks; None without tensors."""
    for value in _contained(model):
        tensors = [value] if isinstance(value, Tensor) else (*value.parameters(), *value.buffers())
        for tensor in tensors:
            return tensor.device
    return None


def place(network: nn.Module, device: torch.device) -> None:
    """Move a network to a device, with its filters in the order in which the device convolves faster.

    A CPU convolves images faster with the channels last. On a GPU, float32 convolutions without TF32 are up to 16 times
    slower so, and in half precision a filter in either order does.
    """
    network.to(device)
    network.to(memory_format=torch.contiguous_format if device.type == "cuda" else torch.channels_last)


def in_fast_order(images: Tensor) -> Tensor:
    """Return (N, C, H, W) images in the order in memory in which their device convolves faster; see ``place``."""
    half = torch.is_autocast_enabled(images.device.type) or images.dtype in (torch.bfloat16, torch.float16)
    plain = images.device.type == "cuda" and not half
    return images.contiguous(memory_format=torch.contiguous_format if plain else torch.channels_last)


@contextlib.contextmanager
def evaluation_mode(model: object) -> Iterator[None]:
    """Put all networks of a model into evaluation mode; restore the mode of each module afterwards."""
    with contextlib.ExitStack() as stack:
        set_evaluation_mode(model, stack)
        yield


def set_evaluation_mode(model: object, stack: contextlib.ExitStack) -> None:
    """Put all networks of a model into evaluation mode; closing the stack restores their modes."""
    modes: dict[int, tuple[nn.Module, bool]] = {}
    networks = networks_of(model)
    for network in networks:
        for module in network.modules():
            modes.setdefault(id(module), (module, module.training))
    # Module by module: ``train(True)`` of a network would also set its frozen parts.
    stack.callback(_restore, list(modes.values()))
    for network in networks:
        if any(module.training for module in network.modules()):
            network.eval()


def _restore(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, training in modes:
        module.training = training


def _contained(model: object) -> Iterator[nn.Module | Tensor]:
    """Yield the networks and separate tensors reachable from a model, each once; submodules are not repeated."""
    seen: set[int] = set()
    within: set[int] = set()  # modules within a network that was found earlier
    waiting: list[object] = [model, *_globals(model)]
    waiting.reverse()
    keep = []  # keeps objects alive, so that ids are unique
    while waiting:
        value = waiting.pop()
        if isinstance(value, _PLAIN) or id(value) in seen:
            continue
        seen.add(id(value))
        keep.append(value)
        if isinstance(value, nn.Module):
            if id(value) not in within:
                within |= {id(module) for module in value.modules()}
                yield value
        elif isinstance(value, Tensor):
            yield value
            continue
        waiting += reversed(list(_inside(value)))


def _inside(value: object) -> Iterable[object]:
    """Return the objects that an object refers to directly."""
    if isinstance(value, Mapping | types.MappingProxyType):
        return list(value.values()) if len(value) <= LARGEST else []
    if isinstance(value, list | tuple | set | frozenset):
        return list(value) if len(value) <= LARGEST else []
    if isinstance(value, types.ModuleType | type):
        return []
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.FunctionType):
        return [*_cells(value), *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    return [*_attributes(value).values(), *_slots(value)]


def _attributes(value: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in type(value).__mro__:
        # A network may be a class attribute; classes of Python and torch are skipped.
        if str(kind.__module__).partition(".")[0] not in {"builtins", "torch", "typing", "abc"}:
            found |= {name: one for name, one in vars(kind).items() if _may_hold(name, one)}
    try:
        return {**found, **vars(value)}
    except TypeError:  # no __dict__
        return found


def _may_hold(name: str, value: object) -> bool:
    return isinstance(value, nn.Module) or not (name.startswith("__") or callable(value) or isinstance(value, property))


def _slots(value: object) -> list[object]:
    names = [name for kind in type(value).__mro__ for name in _names(vars(kind).get("__slots__", ()))]
    missing = object()
    values = [_get(value, name, missing) for name in names]
    return [one for one in values if one is not missing]


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _get(value: object, name: str, missing: object) -> object:
    try:
        return getattr(value, name, missing)
    except Exception:  # an unknown descriptor
        return missing


def _cells(function: types.FunctionType) -> list[object]:
    found = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            found.append(cell.cell_contents)
    return found


def _globals(model: object) -> list[object]:
    """Return the global networks in the file of the model's class, or of the object that it wraps."""
    classes = [type(value) for value in (model, *_attributes(model).values())]
    names = {str(kind.__module__) for kind in classes if not issubclass(kind, _PLAIN)}
    modules = [module for name in sorted(names) if (module := sys.modules.get(name)) is not None]
    return [value for module in modules for value in vars(module).values() if _is_network(value)]


def _is_network(value: object) -> bool:
    """Return whether a global is a network, or a list or dictionary of networks."""
    if isinstance(value, list | tuple | dict):
        return any(isinstance(one, nn.Module) for one in _inside(value))
    return isinstance(value, nn.Module)


@contextlib.contextmanager
def precision(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Compute networks' convolutions and matrix products in ``dtype``; weights and normalization stay in float32.

    Casting a whole network would lose values that half precision cannot hold: a variance above 65504 becomes infinite.
    Autocast casts only the operands of convolutions and matrix products; stored weights are never rounded.
    """
    # float32 disables autocast, also for callers inside an autocast region.
    with torch.autocast(device.type, dtype=None if dtype == torch.float32 else dtype, enabled=dtype != torch.float32):
        yield
