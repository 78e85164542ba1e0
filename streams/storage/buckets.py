"""Objects below a prefix of an S3 bucket, with conditional writes if the store has them."""

import mmap
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from playhead.streams.errors import StoreUnavailable
from playhead.streams.names import StorageVariable
from playhead.streams.storage.directories import FILE_LIMIT

if TYPE_CHECKING:  # obstore takes 50 ms to import, and few commands need a bucket
    from obstore import GetResult, UpdateVersion
    from obstore.store import S3Store

_ATTEMPTS = 5
_TIMEOUT, _CONNECT_TIMEOUT = "120s", "5s"
_RETRIES, _RETRY_SECONDS = 2, 10
_NO_BUCKET = "NoSuchBucket"
_ORDER = "order"
_PART = 1024 * 1024


class _Standing(msgspec.Struct, frozen=True):
    content: bytes
    e_tag: str | None
    order: str


class Bucket:
    """The objects below an `s3://bucket/prefix` URL, reached as the `AWS_` variables of the environment say.

    Every method raises StoreUnavailable if the bucket cannot be reached, is not there, or refuses.
    """

    _used_by: int | None = None
    """The process in which obstore's threads run; in one forked from it they do not, and a call would never return."""

    def __init__(self, location: str) -> None:
        self._location = location

    def put(self, name: str, content: bytes | bytearray) -> None:
        """Write only if nothing stands, or over what was looked at and is another content.

        So a bucket that keeps versions gets no new one from a replay, and nothing is overwritten unseen.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        with self._trouble():
            for _ in range(_ATTEMPTS):
                try:
                    obstore.put(self._store, name, content, mode="create", use_multipart=False)
                except AlreadyExistsError:
                    standing = self._find(name)
                except (NotImplementedError, NotSupportedError):  # a store without conditional writes
                    obstore.put(self._store, name, content, use_multipart=False)
                    return
                else:
                    return
                if standing is None:
                    continue
                if standing[0] == content:
                    return
                try:
                    obstore.put(self._store, name, content, mode={"e_tag": standing[1] or ""}, use_multipart=False)
                except PreconditionError:
                    continue
                return
        raise StoreUnavailable(f"{self._location}/{name} was changed by others {_ATTEMPTS} times while it was written")

    def put_newer(self, name: str, content: bytes, order: str) -> bool:
        """Write unless what stands has a higher order, which the store keeps beside it; whether ours stands then."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        attributes = {_ORDER: order}
        with self._trouble():
            for _ in range(_ATTEMPTS):
                try:
                    obstore.put(self._store, name, content, attributes=attributes, mode="create", use_multipart=False)
                except AlreadyExistsError:
                    standing = self._look(name)
                except (NotImplementedError, NotSupportedError):  # a store without conditional writes
                    obstore.put(self._store, name, content, attributes=attributes, use_multipart=False)
                    return True
                else:
                    return True
                if standing is None:
                    continue
                if standing.order > order:
                    return False
                if standing.content == content:
                    return True
                mode: UpdateVersion = {"e_tag": standing.e_tag or ""}
                try:
                    obstore.put(self._store, name, content, attributes=attributes, mode=mode, use_multipart=False)
                except PreconditionError:
                    continue
                return True
        raise StoreUnavailable(f"{self._location}/{name} was changed by others {_ATTEMPTS} times while it was written")

    def change(self, name: str, make: Callable[[bytes | None], bytes | None]) -> None:
        """Write what follows from what stands, again if others change it meanwhile; None is no object."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        with self._trouble():
            for _ in range(_ATTEMPTS):
                standing = self._find(name)
                content = make(standing and standing[0])
                if content == (standing and standing[0]):
                    return
                if content is None:
                    obstore.delete(self._store, name)
                    return
                mode: UpdateVersion | Literal["create"] = "create" if standing is None else {"e_tag": standing[1] or ""}
                try:
                    obstore.put(self._store, name, content, mode=mode, use_multipart=False)
                except (AlreadyExistsError, PreconditionError):
                    continue
                except (NotImplementedError, NotSupportedError):
                    obstore.put(self._store, name, content, use_multipart=False)
                return
        raise StoreUnavailable(f"{self._location}/{name} was changed by others {_ATTEMPTS} times while it was written")

    def put_file(self, name: str, file: IO[bytes], standing: str | None) -> str | None:
        """Write the content of a file over what has that entity tag, or for None if nothing stands; give the new tag.

        None if something else stands. The file is mapped: a conditional write takes the content as a whole.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        file.flush()
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        mode: UpdateVersion | Literal["create"] = "create" if standing is None else {"e_tag": standing}
        with self._trouble():
            try:
                put = obstore.put(self._store, name, content, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return None
            except (NotImplementedError, NotSupportedError):  # a store without conditional writes
                put = obstore.put(self._store, name, content, use_multipart=False)
        return put["e_tag"] or ""

    def get_file(self, name: str, file: IO[bytes]) -> str | None:
        """Write the content of an object to a file, and give its entity tag; None if there is none of that name."""
        with self._trouble():
            if (found := self._get(name)) is None:
                return None
            _refuse_large(found)
            file.writelines(found.stream(_PART))
            return found.meta["e_tag"] or ""

    def tag(self, name: str) -> str | None:
        """The entity tag of an object, empty if the store gives none; None if there is no object of that name."""
        import obstore

        with self._trouble():
            try:
                return obstore.head(self._store, name)["e_tag"] or ""
            except FileNotFoundError:
                return None

    def delete(self, name: str) -> None:
        """Remove an object; fine if there is none."""
        import obstore

        with self._trouble(), suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def folders(self, prefix: str) -> list[str]:
        """The names directly below a prefix that have objects below them, sorted."""
        import obstore

        with self._trouble():
            found = obstore.list_with_delimiter(self._store, prefix)  # pyright: ignore[reportUnknownMemberType]
            return sorted(one.rpartition("/")[2] for one in found["common_prefixes"])

    def get(self, name: str) -> bytes | None:
        """The content of an object, None if there is none of that name."""
        with self._trouble():
            found = self._find(name)
        return None if found is None else found[0]

    def size(self, name: str) -> int | None:
        """The bytes of an object, None if there is none of that name."""
        import obstore

        with self._trouble():
            try:
                return obstore.head(self._store, name)["size"]
            except FileNotFoundError:
                return None

    def parts(self, name: str) -> "Iterator[bytes] | None":
        """The content of an object in parts, None if there is none of that name."""
        with self._trouble():
            found = self._get(name)
        return None if found is None else self._streamed(found)

    def _streamed(self, found: "GetResult") -> Iterator[bytes]:
        with self._trouble():
            for part in found.stream():
                yield bytes(part)

    def get_end(self, name: str, length: int) -> bytes | None:
        """The last bytes of an object, None if there is none of that name."""
        import obstore

        with self._trouble():
            try:
                return bytes(obstore.get(self._store, name, options={"range": {"suffix": length}}).bytes())
            except FileNotFoundError:
                return None

    def list(self, prefix: str | None = None) -> Iterator[tuple[str, int, int]]:
        """Name, size and time (Unix nanoseconds) of every object, or of those below a prefix, but for hidden ones."""
        import obstore

        with self._trouble():
            for found in obstore.list(self._store, prefix):  # pyright: ignore[reportUnknownMemberType]  # its Arrow overload
                for one in found:
                    if not one["path"].startswith("."):
                        yield one["path"], one["size"], round(one["last_modified"].timestamp() * 1e9)

    @cached_property
    def _store(self) -> "S3Store":
        from obstore.store import S3Store

        endpoint = next(filter(None, map(os.environ.get, (StorageVariable.ENDPOINT_S3, StorageVariable.ENDPOINT))), "")
        return S3Store.from_url(
            self._location,
            client_options={
                "timeout": _TIMEOUT,
                "connect_timeout": _CONNECT_TIMEOUT,
                "allow_http": endpoint.startswith("http://"),
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
        )

    def _look(self, name: str) -> "_Standing | None":
        import obstore

        try:
            found = obstore.get(self._store, name)
        except FileNotFoundError:
            return None
        return _Standing(_content(found), found.meta["e_tag"], found.attributes.get(_ORDER, ""))

    def _find(self, name: str) -> tuple[bytes, str | None] | None:
        """Content and entity tag of an object."""
        found = self._get(name)
        return None if found is None else (_content(found), found.meta["e_tag"])

    def _get(self, name: str) -> "GetResult | None":
        import obstore

        try:
            return obstore.get(self._store, name)
        except FileNotFoundError as error:
            if _NO_BUCKET in str(error):
                raise
            return None

    @contextmanager
    def _trouble(self) -> Generator[None, None, None]:
        """Turn what the library raises into one error, in one line."""
        from obstore.exceptions import BaseError

        if Bucket._used_by is None:
            Bucket._used_by = os.getpid()
        elif Bucket._used_by != os.getpid():
            raise StoreUnavailable(
                f"{self._location} was used before this process was forked: use it in the forked processes only"
            )
        try:
            yield
        except (BaseError, FileNotFoundError, PermissionError, NotImplementedError) as error:
            raise StoreUnavailable(f"{self._location}: {str(error).partition(chr(10))[0]}") from error


def _content(found: "GetResult") -> bytes:
    _refuse_large(found)
    return bytes(found.bytes())


def _refuse_large(found: "GetResult") -> None:
    if found.meta["size"] > FILE_LIMIT:
        raise StoreUnavailable(
            f"{found.meta['path']} is over {FILE_LIMIT} bytes, so Playhead did not write it; move it"
        )
