"""Which channels and limits each series is judged by: rules files, what is known of devices, and both while they change."""
