# syntax=docker/dockerfile:1

# The image of istio-signer: Python, the locked dependencies, the wheel; a numeric user, no shell needed, nothing to
# write. To pin the base by digest: docker build --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# The tools that build the wheel stay in this stage; what runs gets no pip.
RUN python -m venv /opt/build && python -m venv --without-pip /opt/venv

# Before the sources, so that a change of code re-uses this layer. Hashes are checked; nothing is compiled.
COPY constraints/build.txt constraints/runtime.txt constraints/
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: -r constraints/build.txt
RUN /opt/build/bin/pip --python /opt/venv/bin/python install \
        --require-hashes --only-binary :all: -r constraints/runtime.txt

# No build isolation: it would fetch a hatchling that nobody has pinned.
COPY pyproject.toml README.md LICENSE ./
COPY signer signer
COPY backends backends
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --no-deps --no-index /wheels/*.whl \
    && /opt/build/bin/pip --python /opt/venv/bin/python check \
    && /opt/venv/bin/istio-signer --version

# The same base: /opt/venv points at its Python.
FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="istio-signer" \
      org.opencontainers.image.description="An external certificate authority for the Istio service mesh" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
COPY --from=builder /opt/venv /opt/venv

# A number, so that Kubernetes can check runAsNonRoot without reading /etc/passwd.
USER 65532:65532
WORKDIR /
EXPOSE 15012 15014
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/venv/bin/istio-signer"]
CMD ["serve", "--config", "/etc/istio-signer/config.yaml"]
