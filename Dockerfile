# docker build -t invoicedrop .
# With what a ledger in PostgreSQL needs, 13 MB more: --build-arg LEDGER=postgres
# Another base needs Python 3.11 or later with its venv module, as python3.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ARG LEDGER=sqlite
WORKDIR /src
RUN python3 -m venv /opt/invoicedrop
# What rarely changes comes first. Every file is verified by its hash before anything in it runs.
COPY requirements.txt requirements-postgres.txt ./
RUN /opt/invoicedrop/bin/pip install --no-cache-dir --require-hashes -r requirements.txt \
        $([ "${LEDGER}" != postgres ] || echo -r requirements-postgres.txt)
COPY pyproject.toml README.md LICENSE ./
COPY daemon ./daemon
# What installs packages is not needed at run time.
RUN /opt/invoicedrop/bin/pip install --no-cache-dir --no-deps . \
    && /opt/invoicedrop/bin/pip uninstall -q -y pip setuptools

FROM ${BASE}
LABEL org.opencontainers.image.title="invoicedrop" \
      org.opencontainers.image.description="Uploads invoice PDFs from a shared drop folder to their orders in Channable, exactly once." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.documentation="README.md"
COPY --from=build /opt/invoicedrop /opt/invoicedrop
# Where the folders are; a settings file of your own, mounted over it, replaces it.
COPY config/container.toml /etc/invoicedrop/invoicedrop.toml
ENV PATH=/opt/invoicedrop/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    INVOICEDROP_STATE_DIR=/state
# /state is writable for whatever user the container runs as (1777); its content is that user's alone.
RUN install -d -o 10001 -g 10001 /invoices /invoices/drop && install -d -o 10001 -g 10001 -m 1777 /state
# A number, so that Kubernetes can see that it is not root. It has no passwd entry on purpose: any other number works.
USER 10001:10001
VOLUME ["/state"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["invoicedrop", "health"]
ENTRYPOINT ["invoicedrop"]
CMD ["run"]
