"""Boxes between the daemon and the API: real ones, each with a configuration and a process of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from findings import must, run
from sandbox_api import free_port

NAME = "api.example.test"
"""A name for the API that only squid knows: whoever passes squid by gets nowhere."""
_PROGRAMS = {"nginx": "nginx", "haproxy": "haproxy", "varnish": "varnishd", "squid": "squid"}
_SBIN = "/usr/sbin:/sbin"
_SECONDS_TO_START = 30.0


def available() -> list[str]:
    """Return the names of the boxes that this machine has."""
    path = f"{os.environ['PATH']}:{_SBIN}"
    return [package for package, program in _PROGRAMS.items() if shutil.which(program, path=path) is not None]


def install() -> None:
    """Install what is missing, without starting a service; what cannot be installed stays missing."""
    missing = sorted(_PROGRAMS.keys() - available())
    if not missing:
        return
    # Debian's packages ask this before they start a service (policy-rc.d(8)).
    policy = Path("/usr/sbin/policy-rc.d")
    is_ours = not policy.exists()
    if is_ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        run(["apt-get", "update", "-qq"])
        for package in missing:
            run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package])
    finally:
        if is_ours:
            policy.unlink()


class Box:
    """A box that listens on loopback; its configuration may be replaced while it runs, or between two runs."""

    def __init__(self, home: Path, name: str, command: Callable[[Path], list[str]], configuration: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._home = home / f"{name}-{self.port}"
        self._home.mkdir()
        # squid gives root's rights up, and writes here all the same.
        self._home.chmod(0o777)
        self._file = self._home / "configuration"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(configuration)

    def configure(self, configuration: str) -> None:
        """Write the configuration; HOME and PORT stand for the box's own folder and port."""
        self._file.write_text(configuration.replace("HOME", str(self._home)).replace("PORT", str(self.port)))

    def start(self) -> None:
        """Start it; return when it takes connections."""
        with (self._home / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(self._file),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._home,
                env=os.environ | {"PATH": f"{os.environ['PATH']}:{_SBIN}"},
            )
        deadline = time.monotonic() + _SECONDS_TO_START
        while not self._listens():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                sys.exit(f"{self._home.name} does not start: {self.output()}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def output(self) -> str:
        """Return what it has printed."""
        return (self._home / "output").read_text()

    def reload(self) -> None:
        """Let a running nginx take the new configuration."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def tell(self, command: str) -> str:
        """Give haproxy a command on its control socket; return its answer."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self._home / "control"))
            control.sendall(f"{command}\n".encode())
            return control.recv(65536).decode()

    @contextmanager
    def running(self) -> Iterator["Box"]:
        """Run it until the end of the block."""
        self.start()
        try:
            yield self
        finally:
            self.stop()


def nginx(home: Path, configuration: str) -> Box:
    """Return an nginx."""
    return Box(
        home, "nginx", lambda file: ["nginx", "-e", "stderr", "-p", str(file.parent), "-c", str(file)], configuration
    )


def nginx_configuration(api_port: int, *, location: str = "", http: str = "", tls: str = "", instead: str = "") -> str:
    """Return an nginx's configuration; `instead` of passing requests on, `tls` is the file of certificate and key."""
    paths = "\n".join(f"{kind}_temp_path HOME/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    listen = f"listen 127.0.0.1:PORT{' ssl' if tls else ''};"
    certificate = f"ssl_certificate {tls}; ssl_certificate_key {tls};" if tls else ""
    return f"""
        user root; daemon off; worker_processes 1; pid HOME/pid; error_log HOME/errors;
        events {{ }}
        http {{
            access_log HOME/requests; {paths} {http}
            server {{
                {listen} {certificate}
                location / {{ {location} {instead or f"proxy_pass http://127.0.0.1:{api_port};"} }}
            }}
        }}
    """


def haproxy(home: Path, configuration: str) -> Box:
    """Return a haproxy."""
    return Box(home, "haproxy", lambda file: ["haproxy", "-db", "-f", str(file)], configuration)


def haproxy_configuration(api_port: int, *, defaults: str = "", frontend: str = "", server: str = "") -> str:
    """Return a haproxy's configuration, one line each of more words."""
    return f"""
global
    stats socket HOME/control mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 5s
    {defaults}
frontend shop
    bind 127.0.0.1:PORT
    {frontend}
    default_backend api
backend api
    server one 127.0.0.1:{api_port} {server}
"""


def varnish(home: Path, configuration: str) -> Box:
    """Return a varnish."""
    box = Box(
        home,
        "varnish",
        # Its child process has this user's rights: no other user is needed.
        lambda file: [
            "varnishd",
            "-F",
            "-j",
            "none",
            "-n",
            f"{file.parent}/varnish",
            "-a",
            f"127.0.0.1:{box.port}",
            "-s",
            "malloc,16m",
            "-f",
            str(file),
        ],
        configuration,
    )
    return box


def varnish_configuration(api_port: int, *, backend: str = "", code: str = "") -> str:
    """Return a VCL: Varnish's own rules, with more of them before."""
    return f'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{api_port}"; {backend} }}\n{code}\n'


def squid(home: Path, configuration: str) -> Box:
    """Return a squid."""
    return Box(home, "squid", lambda file: ["squid", "-N", "-f", str(file)], configuration)


def squid_configuration(hosts: Path, *, login: Path | None = None) -> str:
    """Return a squid's configuration: who is on this machine may ask for anything, or needs a login."""
    hosts.write_text(f"127.0.0.1 {NAME}\n")
    access = "http_access allow localhost"
    if login is not None:
        login.write_text("shop:" + must(["openssl", "passwd", "-apr1", "right"]))
        access = f"""
auth_param basic program /usr/lib/squid/basic_ncsa_auth {login}
acl known proxy_auth REQUIRED
http_access allow known"""
    return f"""
http_port 127.0.0.1:PORT
hosts_file {hosts}
pid_filename HOME/pid
access_log stdio:HOME/requests
cache_log HOME/log
coredump_dir HOME
visible_hostname squid.example.test
pinger_enable off
shutdown_lifetime 0 seconds
{access}
http_access deny all
"""
