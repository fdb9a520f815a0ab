"""The top floor: the command line, the one-machine stack, images."""
