"""A mosquitto of the test's own, and who listens there."""

from tests.support.listening import listen, mosquitto

__all__ = ["listen", "mosquitto"]
