"""What every HTTP part stands on: app, guard, strict JSON, errors."""
