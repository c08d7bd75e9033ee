"""Writes a file onto an SMB share in ways that smbclient does not: in small pieces, or into a file made full-size first.

Run by samba.py with Debian's own Python, which has the package python3-samba:

    smb_writer.py CONFIGURATION USER%PASSWORD SHARE slow|preallocated NAME SECONDS < content
"""

import sys
import time

from samba import credentials
from samba.param import LoadParm
from samba.samba3 import libsmb_samba_internal as smb
from samba.samba3 import param

_PIECES = 5
_READ_AND_WRITE = 0x0012019F
_MAKE = 2  # FILE_CREATE: an error if the name is taken
_SHARE_ALL = 7


def main() -> None:
    """Write the standard input in pieces, so many seconds in all."""
    configuration, login, share, way, name, seconds = sys.argv[1:]
    content = sys.stdin.buffer.read()
    old = param.get_context()
    old.load(configuration)
    new = LoadParm(configuration)
    user, _, password = login.partition("%")
    who = credentials.Credentials()
    who.guess(new)
    who.set_username(user)
    who.set_password(password)
    who.set_kerberos_state(credentials.DONT_USE_KERBEROS)
    connection = smb.Conn("127.0.0.1", share, lp=old, creds=who)
    handle = connection.create(name, DesiredAccess=_READ_AND_WRITE, ShareAccess=_SHARE_ALL, CreateDisposition=_MAKE)
    if way == "preallocated":
        connection.write(handle, b"\0", len(content) - 1)
    size = -(-len(content) // _PIECES)
    for start in range(0, len(content), size):
        connection.write(handle, content[start : start + size], start)
        print(f"{start + size} of {len(content)}", flush=True)
        time.sleep(float(seconds) / _PIECES)
    connection.close(handle)


if __name__ == "__main__":
    main()
