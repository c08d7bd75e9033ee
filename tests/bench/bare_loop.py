"""The yardstick: reads, encodes and posts every file of a folder, and nothing else. No check, no record, no move.

python tests/bench/bare_loop.py URL FOLDER [--connections 8]
"""

import argparse
import base64
import os
from concurrent.futures import ThreadPoolExecutor

import httpx


def main() -> None:
    """Post the files with as many threads as connections."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder")
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    limits = httpx.Limits(max_connections=options.connections, max_keepalive_connections=options.connections)
    headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}
    with (
        httpx.Client(limits=limits, timeout=60, headers=headers, trust_env=False) as client,
        ThreadPoolExecutor(options.connections) as pool,
    ):

        def post(name: str) -> None:
            with open(os.path.join(options.folder, name), "rb") as stream:  # noqa: PTH118, PTH123 - bare
                encoded = base64.b64encode(stream.read())
            order = name.removesuffix(".pdf")
            body = b'{"attachment_type": "INVOICE", "file": "' + encoded + b'"}'
            url = f"{options.url}/v1/companies/1001/projects/2001/orders/{order}/attachments"
            client.post(url, content=body).raise_for_status()

        names = [name for name in os.listdir(options.folder) if name.endswith(".pdf")]  # noqa: PTH208 - bare
        for _ in pool.map(post, names):
            pass


if __name__ == "__main__":
    main()
