"""Settings as a domain declares them: name, type, default, and a sentence for users."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

from playhead.streams.errors import DomainInvalid, InvalidSetting

Value_co = TypeVar("Value_co", covariant=True)

_MOST_BYTES = 63
"""Of a name in Postgres; a longer one is cut."""
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


class Setting(Generic[Value_co]):
    """A setting: `settings[it]` gives its value.

    `read` turns text into the value; `InvalidSetting` of it says what the text must be. `below` names the directory
    below the data directory that stands for an empty value; `title` is what `up` and `doctor` call the place.
    """

    def __init__(
        self,
        name: str,
        default: str,
        help: str,
        read: Callable[[str], Value_co],
        *,
        secret: bool = False,
        below: str | None = None,
        title: str | None = None,
    ) -> None:
        self.name, self.default, self.help, self.read = name, default, help, read
        self.secret, self.below, self.title = secret, below, title

    def parse(self, text: str) -> Value_co:
        """Read the value.

        Raises:
            InvalidSetting: with what is wrong, to follow the text. The message quotes no secret.
        """
        try:
            return self.read(text)
        except InvalidSetting as error:
            raise InvalidSetting(f"it must be {error}") from error
        except Exception as error:
            said = "" if self.secret else f": {error}"
            raise InvalidSetting(f"it cannot be read: {type(error).__name__}{said}") from error

    def value_of(self, given: object) -> Value_co:
        """The value that a program gives: text is read, anything else is the value.

        Raises:
            InvalidSetting: its text cannot be read; names the setting.
        """
        if not isinstance(given, str):
            return cast("Value_co", given)
        try:
            return self.parse(given)
        except InvalidSetting as error:
            shown = "secret" if self.secret else repr(given)
            raise InvalidSetting(f"{self.name} is {shown}; {error}") from error


class SettingValues(Protocol):
    """The value of every declared setting."""

    def __getitem__(self, setting: Setting[Value_co], /) -> Value_co: ...


class GivenValues:
    """Values of settings by name, and the default of every other one; for tests and programs without settings files."""

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        self._values = values or {}

    def __getitem__(self, setting: Setting[Value_co], /) -> Value_co:
        """The value of a setting; text is read as that of the setting is, anything else is the value.

        Raises:
            InvalidSetting: its text cannot be read.
        """
        return setting.value_of(self._values.get(setting.name, setting.default))


def text(value: str) -> str:
    """Read any text."""
    return value


def schema_name(value: str) -> str:
    """Read the name of a schema in Postgres.

    Raises:
        InvalidSetting: it can be none, or none of ours.
    """
    taken = value.startswith("pg_") or value == "information_schema"
    if taken or not value.isprintable() or value.strip() != value or not 0 < len(value.encode()) <= _MOST_BYTES:
        raise InvalidSetting(f"one name of at most {_MOST_BYTES} bytes, and none of Postgres itself")
    return value


def truth(value: str) -> bool:
    """Read true or false.

    Raises:
        InvalidSetting: it is neither.
    """
    if value.lower() not in _TRUE | _FALSE:
        raise InvalidSetting("true or false")
    return value.lower() in _TRUE


def whole(lowest: int = 0, highest: int | None = None) -> Callable[[str], int]:
    """Read a whole number within limits."""

    def read(value: str) -> int:
        stripped = value.strip()
        number = int(stripped) if stripped.isascii() and stripped.isdecimal() else -1
        if number < lowest or (highest is not None and number > highest):
            limits = f"from {lowest} up" if highest is None else f"from {lowest} to {highest}"
            raise InvalidSetting(f"a whole number {limits}")
        return number

    return read


def optional_whole(lowest: int = 0, highest: int | None = None) -> Callable[[str], int | None]:
    """Read a whole number within limits, or nothing."""
    read = whole(lowest, highest)
    return lambda value: read(value) if value else None


def number(lowest: float = 0) -> Callable[[str], float]:
    """Read a number from a limit up."""

    def read(value: str) -> float:
        try:
            found = float(value)
        except ValueError:
            found = float("nan")
        if not lowest <= found < float("inf"):
            raise InvalidSetting(f"a number from {lowest:g} up")
        return found

    return read


def choice(*choices: str) -> Callable[[str], str]:
    """Read one of some words."""

    def read(value: str) -> str:
        if value not in choices:
            raise InvalidSetting(f"one of {', '.join(choices)}")
        return value

    return read


def optional_path(value: str) -> Path | None:
    """Read a path, or nothing."""
    return Path(value) if value else None


def location(value: str) -> str:
    """Read a directory or an `s3://` URL.

    Raises:
        InvalidSetting: it is another URL.
    """
    from playhead.streams.storage.objects import FORMS, Objects

    try:
        Objects(value)
    except InvalidSetting:
        raise InvalidSetting(FORMS) from None
    return value


def reader_of(default: object) -> Callable[[str], object]:
    """What reads a value of the same type as a default.

    Raises:
        DomainInvalid: there is none for that type.
    """
    readers: dict[type, Callable[[str], object]] = {bool: truth, int: whole(), float: number(), str: text}
    if type(default) not in readers:
        raise DomainInvalid(f"pass read= for a setting of type {type(default).__name__}")
    return readers[type(default)]
