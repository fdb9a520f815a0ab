"""What two processes must agree on: messages, wire codec, topics, settings. Imports none of the other floors."""
