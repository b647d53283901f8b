"""All checks, in the order in which things stand on each other: the first problem is the one to mend first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.finding import ok, skipped
from edge.doctor.ward import Check
from edge.errors import (
    BrokerError,
    BundleError,
    CameraError,
    ConfigError,
    DeployError,
    LedgerError,
    RuntimeUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.finding import Finding, Patient


def configuration(patient: Patient) -> Iterator[Finding]:
    """Whether the configuration can be read; raises ConfigError."""
    if patient.path is None:
        yield skipped("configuration", "none is named: --config FILE examines camera, bundle, broker and disk too")
        return
    from edge.config import load

    load(patient.path)
    yield ok("configuration", str(patient.path))


CONFIGURATION = Check("configuration", "checks:configuration", ConfigError, 20, needs=("numpy",))
CHECKS = (
    Check("user", "account:user"),
    Check("python", "machine:python"),
    Check("system", "machine:system"),
    Check("power", "power:power"),
    Check("memory", "machine:memory"),
    Check("clock", "machine:time"),
    Check("numpy", "runtime:numpy", RuntimeUnavailableError, 30),
    CONFIGURATION,
    Check("access", "access:access", ConfigError, configured=True),
    Check("state folder", "disk:state", LedgerError, configured=True),
    Check("disk", "disk:disk", LedgerError, 20, configured=True),
    Check("sync", "disk:sync", LedgerError, 10, configured=True),
    Check("ledger", "disk:ledger", LedgerError, 20, configured=True),
    Check("litert", "runtime:litert", RuntimeUnavailableError, 30, needs=("numpy",)),
    Check("tflite-runtime", "runtime:tflite_runtime", RuntimeUnavailableError, 30, needs=("numpy",)),
    Check("bundle", "runtime:bundle", BundleError, 30, configured=True),
    Check("model", "runtime:model", RuntimeUnavailableError, 90, needs=("numpy", "bundle")),
    Check("edge tpu usb", "edgetpu:usb", RuntimeUnavailableError),
    Check("edge tpu pcie", "edgetpu:pci", RuntimeUnavailableError),
    Check("libedgetpu", "edgetpu:library", RuntimeUnavailableError, 20),
    Check("edge tpu", "edgetpu:probe", RuntimeUnavailableError, 100, configured=True, needs=("libedgetpu", "bundle")),
    Check("camera stack", "camera:stack", CameraError, 30, configured=True),
    Check("camera device", "camera:nodes", CameraError, configured=True),
    Check("camera", "camera:frame", CameraError, 45, configured=True, needs=("camera stack", "camera device")),
    Check("baseline", "disk:baseline", ConfigError, 20, configured=True),
    Check("pins", "pins:pins", ConfigError, 15, configured=True),
    Check("broker name", "broker:name", BrokerError, 15, configured=True),
    Check("broker port", "broker:port", BrokerError, 15, configured=True, needs=("broker name",)),
    Check("certificates", "broker:files", BrokerError, 10, configured=True),
    Check("broker tls", "broker:server", BrokerError, 30, configured=True, needs=("broker port", "certificates")),
    Check(
        "broker", "broker:login", BrokerError, 30, configured=True, needs=("broker port", "certificates", "broker tls")
    ),
    Check("service", "service:service", DeployError, 10),
    Check("journal", "service:journal", DeployError),
)
