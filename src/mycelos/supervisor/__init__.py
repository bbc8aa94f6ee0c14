"""Host mode: starts the zones as processes, hands each its descriptors, keeps them running, stops them in order."""
