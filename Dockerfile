# taprail's own roles (target taprail), and Kafka Connect with Debezium and Apicurio's converter (target connect).
# Versions of the parts stand in connectors/local/versions.py; tests/test_compose.py holds the two together.
ARG PYTHON=3.11-slim-bookworm
ARG DEBEZIUM=3.6.3.Final

# Compilers and the lock with everything in it stay behind in this stage.
FROM python:${PYTHON} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/build && /opt/build/bin/pip install --quiet --require-hashes -r requirements.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY schemas schemas
COPY connectors connectors
COPY streams streams
RUN TAPRAIL_REQUIRE_COMPILED=1 /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip install --quiet --no-deps /wheels/*.whl
# The converter's jars, each checked against its SHA-256 in connectors/local/jars.lock.
RUN XDG_CACHE_HOME=/cache /opt/build/bin/python -c \
    "from taprail.connectors.local.artifacts import ensure_sets; ensure_sets(['converter'])" \
    && mv /cache/taprail/jars/converter-* /converter

FROM quay.io/debezium/connect:${DEBEZIUM} AS connect
COPY --from=build --chown=kafka:kafka /converter/ /kafka/connect/apicurio-converter/
COPY --chmod=755 deploy/connect.sh /taprail-connect.sh
ENTRYPOINT ["/taprail-connect.sh"]

FROM python:${PYTHON} AS taprail
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY deploy/requirements.lock /tmp/requirements.lock
RUN python -m venv /opt/taprail \
    && /opt/taprail/bin/pip install --quiet --no-cache-dir --require-hashes -r /tmp/requirements.lock \
    && rm /tmp/requirements.lock
COPY --from=build /wheels /wheels
RUN /opt/taprail/bin/pip install --quiet --no-cache-dir --no-deps /wheels/*.whl && rm -r /wheels
# A named volume takes the owner and mode of the folder that it is mounted on.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin taprail \
    && install --directory --owner=taprail --group=taprail --mode=0700 /run/taprail /var/lib/taprail \
       /var/lib/taprail/control /var/lib/taprail/log /var/lib/taprail/public /var/lib/taprail/signer \
       /var/lib/taprail/spool /var/lib/taprail/tls
COPY deploy/prepare.py /opt/taprail/prepare.py
ENV PATH=/opt/taprail/bin:$PATH
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["taprail"]
CMD ["--help"]
