"""Where values come from: the environment, `.env`, `playhead.toml`, in this order."""

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from playhead.settings.core import toml_key
from playhead.settings.masking import MASK, mask
from playhead.streams.domains.discovery import DOTENV, TOML, read_dotenv, read_toml
from playhead.streams.domains.settings import Setting
from playhead.streams.errors import InvalidSetting
from playhead.streams.names import ENVIRONMENT_PREFIX, DomainVariable, TrustVariable
from playhead.streams.slips import did_you_mean

_SLIP = 0.88


class Given(msgspec.Struct, frozen=True):
    """The text of a setting and where it came from."""

    name: str
    value: str
    origin: str
    secret: bool = False

    @property
    def shown(self) -> str:
        """The text with its secrets masked."""
        if self.secret:
            return MASK if self.value else ""
        return mask(self.value) if self.name.endswith("_URL") else self.value


class Sources:
    """What each source says, read once."""

    def __init__(self) -> None:
        self._environment: Mapping[str, str] = os.environ
        self._dotenv = read_dotenv()
        self._toml = read_toml()

    def find(self, setting: Setting[Any]) -> Given:
        """The text that counts for a setting, which is its default if no source has it.

        Raises:
            InvalidSetting: `playhead.toml` has a table or a list there.
        """
        name = setting.name
        if value := self._environment.get(name):
            return Given(name, value, "environment", setting.secret)
        if value := self._dotenv.get(name):
            return Given(name, value, str(DOTENV), setting.secret)
        if (given := self._toml.get(toml_key(name))) is not None:
            if isinstance(given, list) and name == DomainVariable.DOMAINS:
                given = ",".join(map(str, cast("list[object]", given)))
            if isinstance(given, dict | list):
                raise InvalidSetting(f"{toml_key(name)} in {TOML} must be one value, not a table or list")
            value = str(given).lower() if isinstance(given, bool) else str(given)
            return Given(name, value, str(TOML), setting.secret)
        return Given(name, setting.default, "default", setting.secret)

    def unknown(self, known: Iterable[str]) -> list[str]:
        """A sentence for each key that no setting has, with the nearest that one has.

        A name without the prefix may belong to another program: it is named if it is a slip away from one of ours.
        """
        names = list(known)
        keys = {toml_key(name) for name in names}
        said = [
            _unknown(name, origin, names)
            for origin, values in (("environment", self._environment), (str(DOTENV), self._dotenv))
            for name in sorted(values.keys() - {*names, *(TrustVariable if origin == "environment" else ())})
            if name.startswith(ENVIRONMENT_PREFIX) or _is_slip(name, names)
        ]
        return said + [_unknown(key, str(TOML), keys) for key in sorted(self._toml.keys() - keys)]


def _unknown(name: str, origin: str, known: Iterable[str]) -> str:
    return f"{name} ({origin}) is not a setting{did_you_mean(name, known)}"


def _is_slip(name: str, known: list[str]) -> bool:
    near = difflib.get_close_matches(name, known, n=1, cutoff=_SLIP)
    return bool(near) and abs(len(near[0]) - len(name)) <= 1
