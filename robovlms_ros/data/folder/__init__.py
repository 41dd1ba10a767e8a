"""Our own folder of episodes: what every recording is converted to, and what training streams from.

``dataset.json`` describes it, ``episodes.jsonl`` lists its episodes, ``shards/000000.arrow`` and so on hold them:
Arrow IPC files with one record batch per episode, so that any Arrow tool can read them.
"""
