ARG BASE=python:3.13-slim
FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY daemon ./daemon
RUN python -m venv /opt/invoicedrop && /opt/invoicedrop/bin/pip install --no-cache-dir .

FROM ${BASE}
COPY --from=build /opt/invoicedrop /opt/invoicedrop
ENV PATH=/opt/invoicedrop/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    INVOICEDROP_DROP_DIR=/invoices/drop \
    INVOICEDROP_PROCESSED_DIR=/invoices/processed \
    INVOICEDROP_FAILED_DIR=/invoices/failed \
    INVOICEDROP_STATE_DIR=/state
RUN mkdir -p /invoices/drop /state && chown -R 10001:10001 /invoices /state
USER 10001:10001
VOLUME ["/state"]
ENTRYPOINT ["invoicedrop"]
CMD ["run"]
