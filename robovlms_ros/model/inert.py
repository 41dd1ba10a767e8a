"""What stands in for the classes and functions that a pickle names. Free of torch, for readers of other files."""

from __future__ import annotations


class Inert:
    """Stands in for any class, function or object: may be called, filled and given a state, and does nothing."""

    __slots__ = ()

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __call__(self, *args: object, **kwargs: object) -> Inert:
        """Do nothing, like all that follows."""
        return self

    def __setitem__(self, key: object, value: object) -> None: ...

    # A file may also give a state to the class itself, which then is the only argument.
    def __setstate__(self, *state: object) -> None: ...

    def append(self, item: object) -> None:
        """Do nothing."""

    add = extend = append
