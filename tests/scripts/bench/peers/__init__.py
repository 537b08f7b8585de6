"""The comparison with the peers; no test needs one of them, npm or apt."""
