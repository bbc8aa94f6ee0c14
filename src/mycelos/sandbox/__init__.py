"""Walls around processes: what a plan says is what a process gets, or it does not start.

The rooms: `profiles` says what a process may do, `plan` turns that and the paths of this machine into one frozen
value, `launch` puts the value into force inside the new process, `spawner` is the one door through which the
gateway asks for a run, `confine` walls in the gateway and the operator's page, `probe` attacks the result.
"""
