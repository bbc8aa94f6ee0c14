"""What each request passes before a route sees it, in one order: host, size, who, where from.

`mycelos.gateway.app` puts the layers together. Each is plain ASGI: it reads headers and refuses, or hands on.
"""
