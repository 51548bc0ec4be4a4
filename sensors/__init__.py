"""When something is made: sensors and schedules."""

SCHEDULES: list = []


def build_sensors(settings):
    return []
