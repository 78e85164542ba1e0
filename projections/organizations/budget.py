"""Text that ends whoever reads it too often: a bound on work that is the same on every machine, as time is not."""

from collections.abc import Iterator
from typing import Self, SupportsIndex


class BudgetSpent(Exception):
    """The text was read more often than it may be."""


class Budget:
    """How many characters may still be read; `spent` counts them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0

    def spend(self, count: int) -> None:
        """Count characters.

        Raises:
            BudgetSpent: that is more than there may be.
        """
        self.spent += count
        if self.spent > self.limit:
            raise BudgetSpent


class MeteredText(str):  # noqa: SLOT000  # a str may have none that are not empty
    """Text that counts each character it gives; parts of it, and what is joined to it, share its budget."""

    budget: Budget

    def __new__(cls, text: str, budget: Budget) -> Self:
        made = super().__new__(cls, text)
        made.budget = budget
        return made

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        found = super().__getitem__(key)
        self.budget.spend(1 + len(found) // 16 if isinstance(key, slice) else 1)
        return MeteredText(found, self.budget) if isinstance(key, slice) else found

    def __iter__(self) -> Iterator[str]:
        for character in super().__iter__():
            self.budget.spend(1)
            yield character

    def __add__(self, other: str) -> "MeteredText":
        return MeteredText(super().__add__(other), self.budget)

    def __radd__(self, other: str) -> "MeteredText":
        return MeteredText(other + str(self), self.budget)
