# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 AFFECTFLOW_STORE=/store

WORKDIR /opt/affectflow
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
COPY pipeline ./pipeline
COPY models ./models
COPY kernels ./kernels
COPY dags ./dags
COPY data_manifests ./data_manifests
RUN pip install --no-cache-dir -c constraints.txt '.[all]' \
    && useradd --create-home --uid 1000 affectflow \
    && install --directory --owner affectflow /store

USER 1000
VOLUME /store
ENTRYPOINT ["pipeline"]
CMD ["--help"]
