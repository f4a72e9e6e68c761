"""Energy as sensors count it: the processor's own counters (RAPL), graphics processors (NVML), a board's supply."""

from node.sensors.finding import find_sensors
from node.sensors.reading import Reading
from node.sensors.sensor import Sensor

__all__ = ["Reading", "Sensor", "find_sensors"]
