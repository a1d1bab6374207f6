# The images of the project. `stargaze screen --executor docker` builds the last stage; `stargaze deploy` builds the stage
# `serve`, with a lock file of the packages that the page and the workers need. By hand: docker build --tag stargaze .
# No feature of BuildKit is used, so every engine and every client can build the images.
# Another base image, for example of a mirror: screening.base_image, or --build-arg BASE=... It must contain pip and Python 3.11
# or newer.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
COPY requirements.lock /build/
# The environment has no pip, and only wheels are installed: nothing is compiled, and the image cannot install packages. The lock
# file is the complete one, or lacks the packages that the page and the workers never import.
# Files that stargaze does not use are deleted: Arrow's servers, headers, and the tests of the packages.
RUN python -m venv --without-pip /opt/stargaze \
 && python -m pip --python /opt/stargaze/bin/python install --quiet --no-cache-dir --no-compile --only-binary :all: \
    --no-deps --require-hashes --requirement /build/requirements.lock \
 && cd /opt/stargaze/lib/python3*/site-packages \
 && rm -rf pyarrow/include pyarrow/*flight* pyarrow/libarrow_s3* pyarrow/_s3fs* \
 && for package in pandas pyarrow scipy sklearn; do \
      find "$package" -type d -name tests -prune -exec rm -r {} + 2>/dev/null; done; true

FROM ${BASE} AS app
# LightGBM needs the OpenMP runtime, which its wheel does not contain.
# A volume that is mounted over a folder inherits its owner and mode; a tmpfs inherits only its mode.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libgomp1 >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* && install -d -o 10001 -g 10001 /results && install -d -m 1777 /store
COPY --from=build /opt/stargaze /opt/stargaze
ENV PATH=/opt/stargaze/bin:${PATH} PYTHONPATH=/opt/app LANG=C.UTF-8 HOME=/tmp
WORKDIR /tmp
# Copied last, so that a change of the source invalidates few cached layers.
COPY stargaze /opt/app/stargaze

# Web and workers: the first argument of a container is its role. The stack overrides the times of the health check.
FROM app AS serve
# In production the root is read-only, so bytecode is compiled now, for the modules that web and workers import.
RUN python -c "import stargaze.serve.supervisor.container, stargaze.serve.runtime.healthcheck, stargaze.serve.web.app, stargaze.serve.queue.worker, \
 gunicorn.app.base, gunicorn.workers.gthread, pyarrow.parquet, celery.bin.worker, \
 celery.concurrency.prefork, celery.backends.redis, kombu.transport.pyamqp" && rm -rf /tmp/*
ENV PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=10s --start-period=90s --retries=3 CMD ["python", "-m", "stargaze.serve.runtime.healthcheck"]
ENTRYPOINT ["python", "-m", "stargaze.serve.supervisor.container"]

FROM app
# Some packages contain templates that are not valid Python.
RUN { python -m compileall -q -j 0 /opt/stargaze/lib /opt/app >/dev/null || true; }
ENV PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["python", "-m", "stargaze"]
