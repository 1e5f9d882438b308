"""A stand-in for Ray: a cluster of containers that counts devices, tells its state, and lends devices to a server."""
