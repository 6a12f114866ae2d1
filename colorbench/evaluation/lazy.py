"""A property that is made on first use and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

Value = TypeVar("Value")


class lazy(Generic[Value]):
    """``functools.cached_property`` without a lock.

    Python 3.11's holds one for all instances at once: while a batch is converted to Lab, every other would wait. Two
    threads with one instance may both make the value, and one of them is kept; no batch is shared.
    """

    def __init__(self, make: Callable[[Any], Value]) -> None:
        self._make, self.__doc__ = make, make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[Value]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...

    def __get__(self, instance: object | None, owner: type) -> lazy[Value] | Value:
        if instance is None:
            return self
        value = self._make(instance)
        instance.__dict__[self._name] = value  # found before this from now on
        return value
