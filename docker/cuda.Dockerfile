# syntax=docker/dockerfile:1
FROM nvidia/cuda:13.0.2-base-ubuntu24.04

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 AFFECTFLOW_STORE=/store

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /opt/affectflow
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
COPY pipeline ./pipeline
COPY models ./models
COPY kernels ./kernels
COPY dags ./dags
COPY data_manifests ./data_manifests
RUN pip install --no-cache-dir -c constraints.txt '.[all]' \
    && useradd --create-home --uid 1001 affectflow \
    && install --directory --owner affectflow /store

USER 1001
VOLUME /store
ENTRYPOINT ["pipeline"]
CMD ["--help"]
