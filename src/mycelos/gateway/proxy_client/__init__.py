"""The gateway's one way out: the proxy's door. No other module of the gateway opens a connection."""

from mycelos.gateway.proxy_client.client import ProxyClient

__all__ = ["ProxyClient"]
