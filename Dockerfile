# syntax=docker/dockerfile:1
# Two images. `builder` exports and proves a bundle; `device` holds the runtime and that one bundle, no torch.
#   docker build --build-arg MODEL=minilm --build-arg TARGETS="x86_64-avx2 x86_64-avx512-vnni" -t minilm-device .
#   docker run --rm --read-only --network none minilm-device "Some text."

FROM python:3.11-slim AS builder
ARG MODEL=minilm
ARG TARGETS=all
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu "$(ls /wheels/*.whl)[export,demo]"
# A bundle that fails its parity budget is not written: the build stops here with exit code 5.
RUN set -eu; set -f; for target in ${TARGETS}; do set -- "$@" -t "${target}"; done; \
    edgekit export "${MODEL}" "$@" -o /bundle && edgekit verify /bundle

FROM python:3.11-slim AS device
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN --mount=type=bind,from=builder,source=/wheels,target=/wheels pip install --no-cache-dir /wheels/*.whl
# Owned by root, readable by all (bundles are written 0644): the process cannot change what it verifies.
COPY --from=builder /bundle /bundle
USER 10001:10001
ENTRYPOINT ["edgekit", "run", "/bundle"]
