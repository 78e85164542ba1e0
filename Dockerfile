ARG PYTHON_IMAGE=python:3.13.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
RUN python -m venv /opt/playhead
COPY requirements.lock requirements-build.lock ./
RUN /opt/playhead/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY streams streams
COPY eventlog eventlog
COPY projections projections
COPY consumers consumers
COPY playhead playhead
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-build.lock \
    && pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/playhead/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps dist/*.whl \
    && /opt/playhead/bin/pip check

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --home-dir /data --create-home playhead \
    && install --directory --owner playhead /data/eventlog /data/outputs /data/recordings /data/archives /data/blobs
COPY --from=build /opt/playhead /opt/playhead
ENV PATH=/opt/playhead/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PLAYHEAD_DATA_DIR=/data \
    PLAYHEAD_HTTP_HOST=0.0.0.0 \
    PLAYHEAD_HTTP_PORT=9100
USER 10001
WORKDIR /data
EXPOSE 9100
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9100/healthz', timeout=4)"]
ENTRYPOINT ["playhead"]
CMD ["--help"]
