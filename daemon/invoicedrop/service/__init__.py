"""The daemon: one loop, one worker for each inbox, a heartbeat, an ordered stop."""
