# The project's one image. `stargaze screen --executor docker` builds it; by hand: docker build --tag stargaze .
# It asks nothing of BuildKit, so that every engine and every client can build it.
# Another base, a mirror's for one: screening.base_image, or --build-arg BASE=... It brings Python 3.11 or newer, and pip.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
COPY requirements.lock /build/
# An environment without pip, and wheels only: nothing is compiled, and what is left can install nothing.
# The root is read-only where it runs: bytecode is made now or never (some packages ship templates that are no Python).
RUN python -m venv --without-pip /opt/stargaze \
 && python -m pip --python /opt/stargaze/bin/python install --quiet --no-cache-dir --no-compile --only-binary :all: \
    --require-hashes --requirement /build/requirements.lock \
 && { /opt/stargaze/bin/python -m compileall -q -j 0 /opt/stargaze/lib >/dev/null || true; }

FROM ${BASE}
# LightGBM's OpenMP runtime: its wheel brings none.
# A volume that is mounted over /results takes its owner from it.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libgomp1 >/dev/null \
 && rm -rf /var/lib/apt/lists/* && install -d -o 10001 -g 10001 /results
COPY --from=build /opt/stargaze /opt/stargaze
ENV PATH=/opt/stargaze/bin:${PATH} PYTHONPATH=/opt/app PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8 HOME=/tmp
# Last, so that a change of the source builds nothing else anew.
COPY stargaze /opt/app/stargaze
RUN python -m compileall -q /opt/app
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["python", "-m", "stargaze"]
