"""Web apps that append: Starlette and FastAPI, each served by a real uvicorn."""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from playhead.adapters.starlette import lifespan, producer
from playhead.embedded.processes import free_port
from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.errors import InvalidSetting
from tests.support.recorded import recorded


async def record(append, job_id):
    await append("job.completed", subject=f"job/{job_id}", data={"job_id": job_id, "job": {}, "result": "done"})


async def starlette_route(request):
    await record(producer(request).append, request.path_params["job_id"])
    return JSONResponse({"producer": id(producer(request))})


def starlette_app(opened):
    routes = [Route("/jobs/{job_id}", starlette_route), Mount("/sub", routes=[Route("/{job_id}", starlette_route)])]
    return Starlette(routes=routes, lifespan=opened)


def fastapi_app(opened):
    app = FastAPI(lifespan=opened)

    @app.get("/jobs/{job_id}")
    async def finish(job_id: str, producer: Annotated[AsyncProducer, Depends(producer)]):
        await record(producer.append, job_id)
        return {"producer": id(producer)}

    return app


def serve(app, talk):
    """Serve an app, have a client talk to it, and stop it."""

    async def main():
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="on", log_level="warning", ws="none"))
        served = asyncio.create_task(server.serve())
        try:
            while not server.started:
                assert not served.done(), "the app did not start"
                await asyncio.sleep(0.01)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                await talk(client)
        finally:
            server.should_exit = True
            await served

    asyncio.run(main())


@pytest.mark.parametrize("make_app", [starlette_app, fastapi_app])
def test_every_request_appends_through_the_one_producer_of_the_app(valkey, make_app):
    made = []

    def make():
        made.append(AsyncProducer(valkey.url, source="web"))
        return made[-1]

    producers = set()

    async def talk(client):
        for reply in await asyncio.gather(*(client.get(f"/jobs/{number}") for number in range(50))):
            producers.add(reply.raise_for_status().json()["producer"])

    serve(make_app(lifespan(make)), talk)

    assert [id(producer) for producer in made] == list(producers)
    assert {f"job/{number}" for number in range(50)} == {event.subject for event in recorded(valkey)}
    assert {"web"} == {event.source for event in recorded(valkey)}


def test_a_mounted_app_has_the_producer_too(valkey):
    async def talk(client):
        (await client.get("/sub/7")).raise_for_status()

    serve(starlette_app(lifespan(lambda: AsyncProducer(valkey.url))), talk)

    assert ["job/7"] == [event.subject for event in recorded(valkey)]


def test_a_lifespan_of_your_own_keeps_its_state_and_appends_until_it_ends(valkey):
    @asynccontextmanager
    async def own(app):
        yield {"greeting": "hello"}
        await record(app.state.append, "last")

    async def greet(request):
        request.app.state.append = producer(request).append
        return JSONResponse({"greeting": request.state.greeting})

    replies = []

    async def talk(client):
        replies.append((await client.get("/")).json())

    opened = lifespan(lambda: AsyncProducer(valkey.url), own)
    serve(Starlette(routes=[Route("/", greet)], lifespan=opened), talk)

    assert [{"greeting": "hello"}] == replies
    assert ["job/last"] == [event.subject for event in recorded(valkey)]


def test_by_default_the_producer_is_that_of_the_environment(valkey, monkeypatch):
    monkeypatch.setenv("REDIS_URL", valkey.url)

    async def talk(client):
        (await client.get("/jobs/1")).raise_for_status()

    serve(starlette_app(lifespan()), talk)

    assert [{"job_id": "1", "job": {}, "result": "done"}] == [json.loads(event.data) for event in recorded(valkey)]


def test_an_app_without_a_producer_is_told_what_to_do():
    errors = []

    async def explain(request):
        with pytest.raises(InvalidSetting) as caught:
            producer(request)
        errors.append(str(caught.value))
        return JSONResponse({})

    async def talk(client):
        (await client.get("/")).raise_for_status()

    serve(FastAPI(routes=[Route("/", explain)]), talk)

    assert ["lifespan=playhead.adapters.starlette.lifespan()" in error for error in errors] == [True]
