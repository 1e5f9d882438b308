"""A stand-in for docker: images and containers are files of a node; a container is a detached process group."""
