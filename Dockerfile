# docker build -t invoicedrop .
# With what a ledger in PostgreSQL needs, 13 MB more: --build-arg LEDGER=postgres
# Another base needs Python 3.11 or later with its venv module, as python3.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ARG LEDGER=sqlite
WORKDIR /src
RUN python3 -m venv /opt/invoicedrop
# What rarely changes comes first. Every file is verified by its hash before anything in it runs.
COPY requirements.txt requirements-postgres.txt requirements-build.txt ./
RUN /opt/invoicedrop/bin/pip install --no-cache-dir --require-hashes \
        -r "$([ "${LEDGER}" = postgres ] && echo requirements-postgres.txt || echo requirements.txt)" \
    && /opt/invoicedrop/bin/pip install --no-cache-dir --require-hashes --target /tools -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY config ./config
COPY systemd ./systemd
COPY daemon ./daemon
RUN PYTHONPATH=/tools /opt/invoicedrop/bin/pip install --no-cache-dir --no-deps --no-index --no-build-isolation .

# With the sandbox API beside it: for the profile `try` of config/compose.yaml, and for nothing else.
FROM build AS build-try
COPY requirements-sandbox.txt ./
RUN /opt/invoicedrop/bin/pip install --no-cache-dir --require-hashes -r requirements-sandbox.txt

# Nothing but what runs.
FROM build AS build-live
# What installs packages, scripts that activate an environment, and headers are for no program that runs.
RUN /opt/invoicedrop/bin/pip uninstall -q -y setuptools pip \
    && rm -rf /opt/invoicedrop/include /opt/invoicedrop/bin/*ctivate*

FROM ${BASE} AS runtime
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="invoicedrop" \
      org.opencontainers.image.description="Uploads invoice PDFs from a shared drop folder to their orders in Channable, exactly once." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.vendor="the maintainers of invoicedrop" \
      org.opencontainers.image.documentation="README.md" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Where the folders are; a settings file of your own, mounted over it, replaces it.
COPY config/container.toml /etc/invoicedrop/invoicedrop.toml
ENV PATH=/opt/invoicedrop/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    INVOICEDROP_STATE_DIR=/state
# /state is writable for whatever user the container runs as (1777); its content is that user's alone.
RUN install -d /run/secrets && install -d -o 10001 -g 10001 /invoices /invoices/drop && install -d -o 10001 -g 10001 -m 1777 /state
# A number, so that Kubernetes can see that it is not root. It has no passwd entry on purpose: any other number works.
USER 10001:10001
VOLUME ["/state"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["invoicedrop", "health"]
ENTRYPOINT ["invoicedrop"]
CMD ["run"]

FROM runtime AS try
COPY --from=build-try /opt/invoicedrop /opt/invoicedrop

FROM runtime AS live
COPY --from=build-live /opt/invoicedrop /opt/invoicedrop
