"""Starlette and FastAPI: `lifespan=lifespan()` opens one producer for the app, and `producer` gives it to a request.

`Depends(producer)` of FastAPI and `producer(request)` of Starlette are the same function.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.errors import InvalidSetting

App = TypeVar("App", bound=Starlette)

_STATE = "playhead_producer"


def lifespan(
    make: Callable[[], AsyncProducer] = AsyncProducer.from_environment,
    inner: Callable[[App], AbstractAsyncContextManager[Mapping[str, object] | None]] | None = None,
) -> Callable[[App], AbstractAsyncContextManager[dict[str, object]]]:
    """Open the producer that `make` gives when the app starts, and close it when the app stops.

    `inner` is a lifespan of your own: it starts after the producer is there and stops before it closes, and its state
    is kept. What `make` raises, such as InvalidSetting, keeps the app from starting.
    """

    @asynccontextmanager
    async def opened(app: App) -> AsyncGenerator[dict[str, object]]:
        async with AsyncExitStack() as stack:
            state: dict[str, object] = {_STATE: await stack.enter_async_context(make())}
            if inner is not None:
                state |= await stack.enter_async_context(inner(app)) or {}
            yield state

    return opened


def producer(connection: HTTPConnection) -> AsyncProducer:
    """Give the producer of the app that serves a request.

    Raises:
        InvalidSetting: the app has none.
    """
    found: object = getattr(connection.state, _STATE, None)
    if not isinstance(found, AsyncProducer):
        raise InvalidSetting(
            "the app has no producer: make it with `lifespan=playhead.adapters.starlette.lifespan()`, and serve it with"
            " a server that runs lifespans"
        )
    return found
