"""The certificates that SSL_CERT_FILE and SSL_CERT_DIR name: judged when the settings are loaded."""

import os
import re
import ssl
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from invoicedrop.printable import printable

_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""The names under which OpenSSL looks for certificates in a folder (openssl-rehash(1))."""


def trusted(certificates: Mapping[str, str], key_log: str, problems: list[str]) -> ssl.SSLContext | None:
    """Return what trusts the certificates that the variables name; None where none are named, or they cannot be used.

    All are read now, but for a folder's, which OpenSSL looks for when it needs them.
    """
    file, folders = certificates.get("SSL_CERT_FILE"), certificates.get("SSL_CERT_DIR")
    refusals = [
        *(_key_log_refusal(key_log) if key_log else ()),
        *(_file_refusal(Path(file)) if file else ()),
        *(_folder_refusal(folders) if folders else ()),
    ]
    if not refusals and certificates:
        try:
            context = ssl.create_default_context(cafile=file, capath=folders)
        except OSError:  # also ssl.SSLError
            context = None
        if context is not None and (file is None or context.cert_store_stats()["x509"]):
            return context
        refusals.append(
            f"SSL_CERT_FILE ({printable(str(file))}): holds no certificates in PEM form, or one that is damaged "
            "(-----BEGIN CERTIFICATE-----); convert or replace it"
        )
    problems += refusals
    return None


def _key_log_refusal(path: str) -> Iterator[str]:
    """Yield why Python's ssl, which obeys this variable, would fail in every connection."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = path
    except (OSError, ValueError) as error:
        yield f"SSLKEYLOGFILE ({printable(path)}): cannot be written ({error}); remove it, it is for debugging only"


def _file_refusal(path: Path) -> Iterator[str]:
    where = f"SSL_CERT_FILE ({printable(path)})"
    try:
        content = _read(path)
    except FileNotFoundError:
        yield f"{where}: does not exist; correct the path"
    except IsADirectoryError:
        yield f"{where}: is a folder; name a file with certificates, or use SSL_CERT_DIR"
    except OSError as error:
        yield f"{where}: cannot be read ({error.strerror}); let the user that the service runs as read it"
    except ValueError:
        yield f"{where}: is no regular file; name a file with certificates"
    else:
        if not content.strip():
            yield f"{where}: is empty; it must hold certificates in PEM form"


def _folder_refusal(value: str) -> Iterator[str]:
    """Yield why none of the folders, separated by colons, can be used."""
    where, refusal = f"SSL_CERT_DIR ({printable(value)})", "does not exist; correct the path"
    for folder in map(Path, filter(None, value.split(":"))):
        try:
            files = [entry for entry in folder.iterdir() if _HASHED.fullmatch(entry.name)]
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            refusal = "is no folder; name a folder with certificates, or use SSL_CERT_FILE"
        except (OSError, ValueError) as error:
            refusal = f"cannot be read ({error}); let the user that the service runs as read it"
        else:
            if any(map(_is_usable, files)):
                return
            refusal = (
                "has no certificate that can be read under the names that OpenSSL looks for; put certificates in PEM "
                "form there and run openssl rehash"
            )
    yield f"{where}: {refusal}"


def _is_usable(path: Path) -> bool:
    """Whether a file of a folder holds a certificate in PEM form."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        _read(path)  # not a FIFO, on which OpenSSL would wait
        context.load_verify_locations(path)
    except (OSError, ValueError):
        return False
    return bool(context.cert_store_stats()["x509"])


def _read(path: Path) -> bytes:
    """Return what a regular file holds; ValueError if it is none."""
    # Not blocking: a FIFO without a writer would hold up the start forever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise IsADirectoryError if stat.S_ISDIR(mode) else ValueError
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read()
    finally:
        os.close(descriptor)
