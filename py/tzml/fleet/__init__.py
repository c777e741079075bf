"""Many devices with tzml-serve that answer as one."""

from tzml.fleet.haproxy import Balancer, Device, check, configuration

__all__ = ["Balancer", "Device", "check", "configuration"]
