# The project's images, of one recipe. `stargaze screen --executor docker` builds the last, `stargaze deploy` the one named
# `serve` with a lock file of what page and workers need; by hand: docker build --tag stargaze .
# It asks nothing of BuildKit, so that every engine and every client can build it.
# Another base, a mirror's for one: screening.base_image, or --build-arg BASE=... It brings Python 3.11 or newer, and pip.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
COPY requirements.lock /build/
# An environment without pip, and wheels only: nothing is compiled, and what is left can install nothing. The lock file is whole,
# or lacks what page and workers never import.
# What is left out is for other programs: Arrow's servers, headers, and the packages' own tests.
RUN python -m venv --without-pip /opt/stargaze \
 && python -m pip --python /opt/stargaze/bin/python install --quiet --no-cache-dir --no-compile --only-binary :all: \
    --no-deps --require-hashes --requirement /build/requirements.lock \
 && cd /opt/stargaze/lib/python3*/site-packages \
 && rm -rf pyarrow/include pyarrow/*flight* pyarrow/libarrow_s3* pyarrow/_s3fs* \
 && for package in pandas pyarrow scipy sklearn; do \
      find "$package" -type d -name tests -prune -exec rm -r {} + 2>/dev/null; done; true

FROM ${BASE} AS app
# LightGBM's OpenMP runtime: its wheel brings none.
# A volume that is mounted over a folder takes its owner from it, a file system in memory its mode alone.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libgomp1 >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* && install -d -o 10001 -g 10001 /results && install -d -m 1777 /store
COPY --from=build /opt/stargaze /opt/stargaze
ENV PATH=/opt/stargaze/bin:${PATH} PYTHONPATH=/opt/app LANG=C.UTF-8 HOME=/tmp
WORKDIR /tmp
# Last, so that a change of the source builds little else anew.
COPY stargaze /opt/app/stargaze

# Page and workers: which of them a container is, its first word says. The stack sets the times of its checks.
FROM app AS serve
# The root is read-only where it runs: bytecode is made now or never, here of what these two import.
RUN python -c "import stargaze.serve.supervisor.container, stargaze.serve.runtime.healthcheck, stargaze.serve.web.app, stargaze.serve.queue.worker, \
 gunicorn.app.wsgiapp, gunicorn.workers.gthread, pyarrow.parquet, celery.bin.worker, \
 celery.concurrency.prefork, celery.backends.redis, kombu.transport.pyamqp" && rm -rf /tmp/*
ENV PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=10s --start-period=90s --retries=3 CMD ["python", "-m", "stargaze.serve.runtime.healthcheck"]
ENTRYPOINT ["python", "-m", "stargaze.serve.supervisor.container"]

FROM app
# Some packages ship templates that are no Python.
RUN { python -m compileall -q -j 0 /opt/stargaze/lib /opt/app >/dev/null || true; }
ENV PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["python", "-m", "stargaze"]
