"""When something is made: sensors and schedules."""
