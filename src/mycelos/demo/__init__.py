"""A stand-in for the outside, on loopback: a scripted model, an API like GitHub's, a thief. For tour and tests."""
