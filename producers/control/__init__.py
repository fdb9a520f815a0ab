"""Control of a running simulation from outside: the REST API, and the way to the worker that owns a device."""
