# One validator or observer of a Quorate network.
#
#   docker build --tag quorate .
#   docker build --build-arg BASE=registry.example/python:3.11 --tag quorate .     # another base, by your own registry
#
# The base needs Debian 12 or later with Python 3.11 or 3.12 as `python`. Builds with the classic builder: nothing of
# BuildKit is used. Where packages come from is the machine's matter: pass PIP_INDEX_URL and the like as build arguments.
ARG BASE=python:3.11-slim-bookworm

# --- build: the locked requirements, the package, the compiled kernels ---
FROM ${BASE} AS build

ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# plyvel brings its own LevelDB on x86-64 only; elsewhere it is compiled.
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && \
    if [ "$(uname -m)" != x86_64 ]; then \
      apt-get install --yes --no-install-recommends g++ libleveldb-dev python3-dev; \
    fi

# The requirements come first: they change seldom, so that this layer is reused. The environment for building stays
# behind in this stage, and the one that is shipped holds no pip.
COPY requirements/runtime.lock requirements/build.lock /build/requirements/
RUN python -m venv /opt/builder && \
    python -m venv --without-pip /opt/quorate && \
    /opt/builder/bin/python -m pip install --require-hashes -r /build/requirements/build.lock && \
    /opt/builder/bin/python -m pip --python /opt/quorate/bin/python install --require-hashes \
      -r /build/requirements/runtime.lock

# Of the libraries, what a node never reads: tests, headers, symbols for debuggers. Only the largest is stripped: others
# were edited after they were linked, and would not load.
RUN cd /opt/quorate/lib/python3*/site-packages && \
    find . -type d \( -name tests -o -name test -o -name include \) -prune -exec rm -rf {} + && \
    find . -name '*.a' -delete && \
    strip --strip-unneeded llvmlite/binding/libllvmlite.so && \
    python -m compileall -q . && /opt/quorate/bin/python -c 'import numba, numpy, plyvel, nacl.bindings, uvloop'

COPY . /build/
RUN cd /build && \
    /opt/builder/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . && \
    /opt/builder/bin/python -m pip --python /opt/quorate/bin/python install --no-deps /wheels/quorate-*.whl && \
    python -m compileall -q /opt/quorate/lib

# The kernels are compiled for a plain processor and for one with AVX2; the entry point picks.
RUN export NUMBA_CACHE_DIR=/opt/quorate/kernels NUMBA_CPU_FEATURES= && \
    NUMBA_CPU_NAME=generic /opt/quorate/bin/quorate warmup && \
    if [ "$(uname -m)" = x86_64 ]; then NUMBA_CPU_NAME=x86-64-v3 /opt/quorate/bin/quorate warmup; fi

# --- run ---
FROM ${BASE}

RUN apt-get update && \
    apt-get install --yes --no-install-recommends tini && \
    if [ "$(uname -m)" != x86_64 ]; then apt-get install --yes --no-install-recommends libleveldb1d; fi && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/* && \
    useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/quorate --shell /usr/sbin/nologin quorate && \
    install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/quorate /run/quorate

COPY --from=build /opt/quorate /opt/quorate
COPY deploy/docker/entrypoint /usr/local/bin/quorate-entrypoint

ENV PATH=/opt/quorate/bin:$PATH \
    HOME=/var/lib/quorate \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    QUORATE_HOME=/var/lib/quorate \
    QUORATE_API__HOST=0.0.0.0 \
    QUORATE_P2P__LISTEN_HOST=0.0.0.0

LABEL org.opencontainers.image.title="Quorate" \
      org.opencontainers.image.description="A permissioned blockchain node on which a consortium trains models together" \
      org.opencontainers.image.licenses="Apache-2.0"

USER 10001:10001
WORKDIR /var/lib/quorate
VOLUME /var/lib/quorate
# 8080: REST. 26656: the other members.
EXPOSE 8080 26656
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["tini", "--", "quorate-entrypoint"]
CMD ["start"]
