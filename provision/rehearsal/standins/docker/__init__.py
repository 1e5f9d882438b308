"""A stand-in for docker: images and containers are files below a node's folder; a container is a detached process group."""
