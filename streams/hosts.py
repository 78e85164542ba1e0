"""Whether a host is this machine."""

from ipaddress import ip_address


def is_here(host: str) -> bool:
    """Whether a host, or a socket in its place, is on this machine."""
    if not host or host.lower() == "localhost" or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
