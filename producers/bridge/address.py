"""Where the bridge's MQTT broker is, and how to get in."""

from schemas.mqtt.address import MqttAddress, parse_address
from schemas.settings import BridgeSettings


def address_of(settings: BridgeSettings) -> MqttAddress:
    """The address that the settings give.

    Raises:
        ConfigError: there is none, or something is wrong with it; nothing secret is repeated.
    """
    return parse_address(settings.mqtt, settings, "bridge.mqtt")
