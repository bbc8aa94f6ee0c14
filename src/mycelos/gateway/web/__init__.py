"""The pages that a person sees: server-rendered, usable without JavaScript."""
