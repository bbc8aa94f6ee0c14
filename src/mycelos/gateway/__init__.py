"""The gateway: page, API, chats, agents and runs. It holds no secret and reaches the proxy alone."""
