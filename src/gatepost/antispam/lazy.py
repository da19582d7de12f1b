"""Attributes computed when they are first asked for: `lazy`.

Used by what is made once for each message, `view` and `headers.picture`. What `functools.cached_property` does, without
its lock, which costs more than most of these values: nobody shares a message between threads.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

_T = TypeVar("_T")


class lazy(Generic[_T]):  # noqa: N801 - a decorator, like `property`
    """A method whose value is kept in the instance under its name, which hides this descriptor from then on."""

    def __init__(self, function: Callable[[Any], _T]) -> None:
        self._function = function
        self._name = function.__name__
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type[object]) -> "lazy[_T]": ...
    @overload
    def __get__(self, instance: object, owner: type[object]) -> _T: ...
    def __get__(self, instance: object | None, owner: type[object]) -> "lazy[_T] | _T":
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._function(instance)
        return value
