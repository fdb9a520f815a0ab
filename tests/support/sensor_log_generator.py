"""The files of sensor-log-generator, as its document shows them."""

SAMPLE = """
# Sensor configuration
sensor:
  type: "environmental"
  location: "San Francisco"  # Required
  manufacturer: "SensorTech"
  model: "EnvMonitor-3000"
  firmware_version: "1.4"

# Simulation settings
simulation:
  readings_per_second: 1
  run_time_seconds: 3600  # 1 hour

# Normal operating ranges
normal_parameters:
  temperature:
    mean: 22.0
    std_dev: 2.0
    min: 15.0
    max: 30.0
  humidity:
    mean: 65.0
    std_dev: 5.0
    min: 30.0
    max: 90.0
  pressure:
    mean: 1013.0
    std_dev: 10.0
    min: 990.0
    max: 1040.0

# Anomaly configuration
anomalies:
  enabled: true
  probability: 0.05  # 5% chance
  types:
    spike:
      enabled: true
      weight: 0.4
    trend:
      enabled: true
      weight: 0.2
      duration_seconds: 300
    pattern:
      enabled: true
      weight: 0.1
      duration_seconds: 600
    missing_data:
      enabled: true
      weight: 0.1
      duration_seconds: 30
    noise:
      enabled: true
      weight: 0.2
      duration_seconds: 180

# Database settings
database:
  path: "data/sensor_data.db"

# Logging configuration
logging:
  level: "INFO"
  file: "logs/sensor_simulator.log"
  console_output: true

# Monitoring API (optional)
monitoring:
  enabled: false
  port: 8080
  host: "0.0.0.0"
"""
FLAT = {
    "id": "SENSOR_NY_001",
    "location": "New York",
    "latitude": 40.7128,
    "longitude": -74.0060,
    "timezone": "America/New_York",
    "manufacturer": "SensorTech",
    "model": "TempSensor Pro",
    "firmware_version": "1.2.0",
}
NESTED = {
    "sensor_id": "SENSOR_CO_DEN_001",
    "location": {
        "city": "Denver",
        "state": "CO",
        "coordinates": {"latitude": 39.7337, "longitude": -104.9906},
        "timezone": "America/Denver",
    },
    "device_info": {
        "manufacturer": "DataLogger",
        "model": "AirData-Plus",
        "firmware_version": "3.15.21",
        "serial_number": "DL-578463",
    },
    "deployment": {
        "deployment_type": "mobile_unit",
        "installation_date": "2025-03-24",
        "height_meters": 8.3,
    },
}
