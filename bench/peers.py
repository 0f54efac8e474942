"""What Tollgate is measured beside: the floor, and nginx when it is installed."""

import collections.abc
import dataclasses
import http.client
import os
import socket
import urllib.parse

import machine


@dataclasses.dataclass
class Target:
    """Something that answers."""

    name: str
    url: str
    headers: dict
    process: machine.Process
    # The workloads that are measured on it; empty: all.
    workloads: tuple = ()
    # Counts the calls for money; only a target with budgets makes some.
    exchanges: collections.abc.Callable | None = None

    def takes(self, workload):
        return not self.workloads or workload in self.workloads


def floor(stack, programs, provider, cores, directory):
    """A bare hyper proxy: bench/floor."""
    parts = urllib.parse.urlsplit(provider.url)
    command = [str(programs / "tollgate-bench-floor"), f"http://{parts.netloc}"]
    process = machine.Process("floor", command, cores, directory=directory)
    stack.callback(process.stop)
    return Target("floor", f"http://{process.first_line()}{parts.path}", provider.headers, process)


NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
error_log {directory}/nginx-error.log;
pid {directory}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    keepalive_requests 1000000000;
    upstream provider {{ server {provider}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen unix:{directory}/unused.sock;
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


def nginx(stack, provider, cores, directory):
    """nginx as a plain reverse proxy that passes events as they come."""
    parts = urllib.parse.urlsplit(provider.url)
    port = free_port()
    path = os.path.join(directory, "nginx.conf")
    with open(path, "w") as file:
        file.write(NGINX.format(directory=directory, port=port, provider=parts.netloc))
    process = machine.Family("nginx", ["nginx", "-c", path, "-p", directory], cores, directory=directory)
    stack.callback(process.stop)
    target = Target("nginx", f"http://127.0.0.1:{port}{parts.path}", provider.headers, process)
    process.wait_for(lambda: process.members() and reachable(target), "it listens")
    return target


def free_port():
    """A port that is free now: nginx cannot tell which one it was given."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def reachable(target):
    parts = urllib.parse.urlsplit(target.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=1)
    try:
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True


def answer(target, body):
    """The status and the body of one answer."""
    parts = urllib.parse.urlsplit(target.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request("POST", parts.path, body, target.headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def verify_equal(provider, target, body):
    """The way through the proxy must lead to the answer that the direct way leads to, ids apart."""
    status, data = answer(target, body)
    direct_status, direct = answer(provider, body)
    if status != 200 or direct_status != 200 or len(data) != len(direct):
        raise machine.Stop(f"{target.name} answers {status} {data[:300]!r}, the provider {direct_status} {direct[:300]!r}")
