"""The running fleet: devices stepped in columns, and the commands that change them."""
