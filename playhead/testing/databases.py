"""Databases of tests: empty, with the tables of their domains, and quick to make."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from playhead.projections.migrations import upgrade
from playhead.streams.domains.discovery import chosen
from playhead.streams.domains.domain import Domain


class Databases:
    """Makes databases on a server; migrations are applied once for the same domains, and copied from then on."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._templates: dict[frozenset[Domain], str] = {}

    @contextmanager
    def empty(self, domains: Iterable[Domain] = ()) -> Generator[str, None, None]:
        """Give the URL of a database with empty tables of the installed domains and these, until the block ends."""
        key = frozenset(domains)
        if key not in self._templates:
            template = self._create()
            with chosen(key):
                upgrade(self._url(template))
            self._templates[key] = template
        name = self._create(f' TEMPLATE "{self._templates[key]}"')
        try:
            yield self._url(name)
        finally:
            self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _create(self, options: str = "") -> str:
        name = f"test_{uuid4().hex}"
        self._execute(f'CREATE DATABASE "{name}"{options}')
        return name

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _url(self, name: str) -> str:
        return make_conninfo(self._server, dbname=name)
