# The base image is named by its digest, too: what was tried is what runs. Change both lines together.
# The wheel is built and installed here, with the versions the tests ran with; nothing but the result is kept.
FROM python:3.12.12-slim-bookworm@sha256:593bd06efe90efa80dc4eee3948be7c0fde4134606dd40d8dd8dbcade98e669c AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv --without-pip /opt/fleetfuel \
 && pip --python /opt/fleetfuel/bin/python install --require-hashes --requirement constraints.txt
COPY pyproject.toml README.md ./
COPY fleetfuel fleetfuel
COPY migrations migrations
COPY rules rules
RUN pip wheel --no-deps --wheel-dir dist . \
 && pip --python /opt/fleetfuel/bin/python install --no-deps dist/*.whl

FROM python:3.12.12-slim-bookworm@sha256:593bd06efe90efa80dc4eee3948be7c0fde4134606dd40d8dd8dbcade98e669c
RUN useradd --no-log-init --uid 10001 --create-home --home-dir /var/lib/fleetfuel fleetfuel
COPY --from=build /opt/fleetfuel /opt/fleetfuel
ENV PATH=/opt/fleetfuel/bin:$PATH FLEETFUEL_REPORTS=/var/lib/fleetfuel/reports
WORKDIR /var/lib/fleetfuel
USER 10001
# Whether the next import could do its work. Whether the last one did: reporting.v_ingest_health, and an alert on it.
HEALTHCHECK --interval=5m --timeout=60s --start-period=1m CMD ["fleetfuel", "doctor", "--quick"]
# Brings the schema up to date, then stays, so that a scheduler has a container to run `fleetfuel import` in.
# Told to stop, it stops, while it migrates too: what is not committed by then is rolled back.
CMD ["sh", "-c", "trap 'kill $!; wait; exit 0' TERM INT; fleetfuel migrate & wait $!; while :; do sleep 3600 & wait $!; done"]
