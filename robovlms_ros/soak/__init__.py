"""Endurance: the real nodes as processes, a policy that does what it is told, a watcher of all that comes out."""
